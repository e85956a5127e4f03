"""Saliency maps: what in an image an answer comes from, by any of several methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from rich.console import Console
from rich.progress import track

from keras_vit.errors import InputError, suggest
from keras_vit.explain.asked import batch_size, questions
from keras_vit.explain.gradients import gradcam, integrated
from keras_vit.explain.occlusion import occlusion
from keras_vit.explain.relevance import relevance
from keras_vit.explain.replay import replay_of
from keras_vit.explain.rollout import last_attention, rollout
from keras_vit.tasks import Task


@dataclass(frozen=True)
class Method:
    """A way to explain.

    Attributes:
        explain: `Asked` and options -> maps, (B, h, w) on the patch grid or (B, H, W) of pixels, none below zero.
        aimed: whether the map is one of a certain answer; otherwise it is the same for all of them.
        source: the paper.
    """

    explain: Callable[..., np.ndarray]
    aimed: bool
    source: str


METHODS = {
    "attention": Method(last_attention, False, "the last block's attention, the mean over heads"),
    "rollout": Method(rollout, False, "Abnar and Zuidema, 2020"),
    "relevance": Method(relevance, True, "Chefer et al., 2021"),
    "gradcam": Method(gradcam, True, "Selvaraju et al., 2017"),
    "integrated": Method(integrated, True, "Sundararajan et al., 2017"),
    "occlusion": Method(occlusion, True, "Zeiler and Fergus, 2014"),
}
"""Every way to explain, by name."""


def saliency(
    model: keras.Model,
    images: np.ndarray,
    method: str = "relevance",
    *,
    aim=None,
    task: Task | None = None,
    progress: bool = False,
    **options,
) -> np.ndarray:
    """Maps of what in images an answer comes from. The model is neither changed nor traced.

    `attention` and `rollout` run on every backend of Keras and show what is looked at, whatever the answer is: the aim
    does not matter to them. `relevance`, `gradcam` and `integrated` take gradients and need TensorFlow.

    Args:
        model: made by `keras_vit.build` for any task, or reloaded.
        images: (B, H, W, channels), pixels 0..255, as the model takes them.
        method: a key of `METHODS`.
        aim: what is explained: an `Aim`, or what `task.aim` takes: a class by number or name, a detection by its rank
            or its class's name; one for all images or a list with one each. By default what the model says.
        task: of the model, as a run has it; None takes the outputs for logits of classes that are called by numbers.
        progress: show a bar.
        options: of the method: `steps` of `integrated`, `size` and `stride` of `occlusion`.

    Returns:
        (B, h, w) float32, the higher the more a place speaks for the answer, none below zero. (h, w) is the patch
        grid, of `integrated` the image. Maps of different images or methods have no common scale.

    Raises:
        InputError: no such method, option, class or detection, images of another shape, not a model of this package, or
            a method that the backend does not run.
    """
    if method not in METHODS:
        raise InputError(f"There is no method {method!r}: {suggest(method, METHODS)}")
    chosen = METHODS[method]
    known = [name for name, p in inspect.signature(chosen.explain).parameters.items() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise InputError(f"The method {method} has no option {option!r}: {suggest(option, known or ['none'])}")
    total = -(-len(images) // batch_size(replay_of(model)))
    console = Console(stderr=True)
    silent = not (progress and console.is_terminal)
    asked = questions(model, images, aim, task, aimed=chosen.aimed)
    bar = track(asked, method, total=total, console=console, transient=True, disable=silent)
    return np.concatenate([chosen.explain(some, **options) for some in bar]).astype("float32")

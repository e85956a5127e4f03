"""Whether a map is one of what a model has learned: it should not survive the loss of it."""

from __future__ import annotations

import keras
import numpy as np
from scipy.stats import spearmanr

from keras_vit.explain.asked import questions
from keras_vit.explain.saliency import METHODS, saliency
from keras_vit.tasks import Task
from keras_vit.tasks.explaining import Aim


def randomised(model: keras.Model, seed: int = 0) -> keras.Model:
    """A copy of the model that has learned nothing: the values of every weight are shuffled.

    So each keeps its distribution, and with it the scale of what the model computes, but nothing of what it knows.

    Args:
        model: stays as it is.
        seed: of the shuffling.
    """
    copy, rng = keras.models.clone_model(model), np.random.default_rng(seed)
    copy.set_weights([rng.permutation(weight.reshape(-1)).reshape(weight.shape) for weight in model.get_weights()])
    return copy


def sanity(
    model: keras.Model,
    images: np.ndarray,
    method: str = "relevance",
    *,
    aim=None,
    task: Task | None = None,
    seed: int = 0,
    **options,
) -> np.ndarray:
    """How alike maps are before and after the model forgets what it has learned: near 0 for a method that shows it.

    The model parameter randomisation test of Adebayo et al., "Sanity checks for saliency maps", 2018, all layers at
    once. Edge detectors pass for explanations until one sees that they show the same of a random network.

    Args:
        model: stays as it is.
        images: (B, H, W, channels), pixels 0..255.
        method: a key of `METHODS`.
        aim: as of `saliency`; the random model is asked the same as the other one.
        task: likewise.
        seed: of the random weights.
        options: of the method.

    Returns:
        (B,) Spearman's rank correlation of the two maps, -1..1; 0 where one of them is the same everywhere.

    Raises:
        InputError: see `saliency`.
    """
    if method in METHODS and METHODS[method].aimed:
        aim = Aim(np.concatenate([asked.weights for asked in questions(model, images, aim, task)]), [])
    random = randomised(model, seed)
    before, after = (saliency(each, images, method, aim=aim, task=task, **options) for each in (model, random))
    return np.array([alike(one, other) for one, other in zip(before, after, strict=True)])


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation of two maps of one shape; 0 where one of them is the same everywhere."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(spearmanr(one.reshape(-1), other.reshape(-1)).statistic)

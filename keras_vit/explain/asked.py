"""What is asked of an explanation: some images, and the part of a model's answers that is to be explained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from keras_vit.build import preprocessing_of
from keras_vit.errors import InputError
from keras_vit.explain.replay import Replay, checked, replay_of
from keras_vit.layers import PixelNormalization
from keras_vit.tasks import Classification, Task
from keras_vit.tasks.explaining import Aim

BATCH = 16
"""Most images that are explained together."""
MEMORY = 2**29
"""Bytes that the scores of all blocks may take for the images that are explained together."""


@dataclass(frozen=True)
class Asked:
    """A few images, and what of the model's answers to them is to be explained: sum(outputs * weights) of each.

    Attributes:
        model: that answers.
        replay: of the model.
        images: (B, H, W, channels) float32, pixels 0..255.
        weights: float32, of the outputs' shape; None for methods that explain no answer in particular.
    """

    model: keras.Model
    replay: Replay
    images: np.ndarray
    weights: np.ndarray | None

    def values(self, images: np.ndarray, index: int) -> np.ndarray:
        """What other images get, (n,), by the weights of one of these images."""
        outputs = answers(self.model, images)
        return (outputs * self.weights[index]).reshape(len(outputs), -1).sum(-1)

    def as_maps(self, rows: np.ndarray) -> np.ndarray:
        """(B, N0), one number a token, on the patch grid: (B, h, w)."""
        return rows[:, len(self.replay.prefix) :].reshape(-1, *self.replay.grid)


def questions(
    model: keras.Model, images: np.ndarray, aim=None, task: Task | None = None, *, aimed: bool = True
) -> Iterator[Asked]:
    """Images a few at a time, with what is asked of each.

    Args:
        model: made by `keras_vit.build` for any task, or reloaded.
        images: (B, H, W, channels), pixels 0..255.
        aim: an `Aim` for all images, or what `task.aim` takes: one for all images or one each.
        task: of the model; None takes the outputs for logits of classes that are called by their numbers.
        aimed: False where no answer in particular is explained: the model is not asked then.

    Raises:
        InputError: images of another shape, not one aim an image, or an aim that the task refuses.
    """
    replay = replay_of(model)
    images = checked(images, replay)
    count = len(images)
    if isinstance(aim, Aim):
        if aim.weights.shape != (count, *model.output.shape[1:]):
            raise InputError(
                f"The aim's weights have the shape {aim.weights.shape}, but of {count} images the model gives outputs "
                f"of {(count, *model.output.shape[1:])}: make it with task.aim(outputs)."
            )
    elif isinstance(aim, Sequence) and not isinstance(aim, str) and len(aim) != count:
        raise InputError(f"There are {len(aim)} aims for {count} images: give one an image, or one for all.")
    step = batch_size(replay)
    for start in range(0, count, step):
        part = slice(start, start + step)
        some = images[part].astype("float32")
        weights = _weights(model, some, aim, task, part) if aimed else None
        yield Asked(model, replay, some, weights)


def batch_size(replay: Replay) -> int:
    """Images that can be explained together: the scores of all blocks are in memory at once."""
    scores = 4 * len(replay.blocks) * replay.blocks[0].num_heads * replay.count**2
    return max(1, min(BATCH, MEMORY // scores))


def _weights(model: keras.Model, images: np.ndarray, aim, task: Task | None, part: slice) -> np.ndarray:
    if isinstance(aim, Aim):
        return aim.weights[part]
    outputs = answers(model, images)
    if task is None:
        if outputs.ndim == 3:
            raise InputError(f"The outputs of {model.name!r} are boxes, not class logits: give the task of its run.")
        task = Classification(tuple(map(str, range(outputs.shape[-1]))))
    several = isinstance(aim, Sequence) and not isinstance(aim, str)
    return task.aim(outputs, aim[part] if several else aim).weights


def answers(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The model's outputs in float32, a few images at a time; nothing is traced or compiled."""
    batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    said = [keras.ops.cast(model(batch, training=False), "float32") for batch in batches]
    return np.concatenate([keras.ops.convert_to_numpy(each) for each in said])


def mean_colour(model: keras.Model) -> np.ndarray:
    """(channels,) float32: the pixel that says nothing, which normalisation maps to zero."""
    if not any(isinstance(layer, PixelNormalization) for layer in model.layers):
        return np.zeros(model.input.shape[-1], "float32")
    return 255 * np.asarray(preprocessing_of(model).mean, "float32")


def positive(label: str, number: int) -> None:
    """Refuses what is no whole number above 0.

    Raises:
        InputError: says which setting.
    """
    if not isinstance(number, (int, np.integer)) or isinstance(number, bool) or number < 1:
        raise InputError(f"{label} is a whole number above 0, not {number!r}.")

"""What a task knows of explanations: which of a model's outputs a person asks about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_vit.errors import InputError, suggest

if TYPE_CHECKING:
    from keras_vit.data import Examples


class NothingFound(InputError):
    """An image has nothing of the kind that is to be explained in it."""


@dataclass(frozen=True)
class Aim:
    """What of a model's outputs is to be explained: the sum of outputs times weights, one number an image.

    Attributes:
        weights: float32, of the outputs' shape (B, ...).
        names: what that is, in words, for each of the B images: `ant`, `car`, `RBC 93 %`.
    """

    weights: np.ndarray
    names: list[str]


@dataclass(frozen=True)
class Presented:
    """One judged example as a person is shown it, and what to ask the model about it.

    Attributes:
        pictures: in few words what it is -> uint8 (h, w, 3), all of one size: the photo, or what is drawn over it.
        asked: in few words -> what `Task.aim` takes: of which answer the picture of what the model looked at is.
        score: how good the answer is, in words, where its title does not tell.
        legend: class name -> `#rrggbb` that it is drawn in.
    """

    pictures: Mapping[str, np.ndarray]
    asked: Mapping[str, int | str]
    score: str = ""
    legend: Mapping[str, str] = field(default_factory=dict)


class Explaining:
    """The part of `Task` that explanations work through.

    What is here suits every task whose outputs are logits of classes along the last axis, of images or of their places.
    """

    def kind(self, examples: Examples, index: int) -> str:
        """What a labelled example is in a word, its class or that of most of it, to sort many of them by."""
        return ""

    def present(self, image: np.ndarray, prediction: Any, examples: Examples, index: int, side: int) -> Presented:
        """A judged example for a person to look at. Of tasks whose `judge` ranks the examples.

        Args:
            image: the original, (H, W, channels) uint8.
            prediction: of the image.
            examples: with its truth.
            index: of the image among them.
            side: pixels of the longer side of each picture.
        """
        raise NotImplementedError(f"{type(self).__name__} ranks its examples, and cannot present them.")

    def aim(self, outputs: np.ndarray, wanted: int | str | Sequence[int | str] | None = None) -> Aim:
        """The logit of a class: of the image, or its mean over the places that are taken for this class.

        Args:
            outputs: of the model for B images, (B, ..., C).
            wanted: class by number or name, one for all images or one each; by default the class that an image is, or
                most of its places are, taken for. Where no place is, all count.

        Raises:
            InputError: no such class, or another number of classes than images.
        """
        outputs = np.asarray(outputs)
        said = outputs.argmax(-1).reshape(len(outputs), -1)
        classes = [np.bincount(row).argmax() for row in said] if wanted is None else self._classes(wanted, len(outputs))
        weights = np.zeros((*said.shape, outputs.shape[-1]), "float32")
        for image, (row, index) in enumerate(zip(said, classes, strict=True)):
            places = row == index if (row == index).any() else np.ones(len(row), bool)
            weights[image, places, index] = 1.0 / places.sum()
        return Aim(weights.reshape(outputs.shape), [self.class_names[index] for index in classes])

    def aimed_boxes(self, outputs: np.ndarray, aim: Aim) -> list[np.ndarray]:
        """The boxes that an aim speaks of, of each image: (k, 4) x0, y0, x1, y1 in pixels of the model's input.

        There are none but for tasks that find boxes.
        """
        return [np.zeros((0, 4), np.float32) for _ in aim.names]

    def _classes(self, wanted: int | str | Sequence[int | str], images: int) -> list[int]:
        each = [wanted] * images if isinstance(wanted, (int, str, np.integer)) else list(wanted)
        if len(each) != images:
            raise InputError(f"There are {len(each)} classes to explain for {images} images: give one an image.")
        return [self._class(one) for one in each]

    def _class(self, wanted: int | str) -> int:
        if isinstance(wanted, str) and wanted in self.class_names:
            return self.class_names.index(wanted)
        if isinstance(wanted, str) and wanted.isdecimal():
            wanted = int(wanted)
        if isinstance(wanted, str):
            raise InputError(f"There is no class {wanted!r}: {suggest(wanted, self.class_names)}")
        if not 0 <= wanted < len(self.class_names):
            raise InputError(f"There is no class {wanted}: there are classes 0 to {len(self.class_names) - 1}.")
        return int(wanted)

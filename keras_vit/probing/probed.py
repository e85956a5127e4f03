"""What a probe found, and the checks that all of them begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keras_vit.errors import InputError

Labelled = tuple[np.ndarray, np.ndarray]
"""Features (n, D) and the class of each, (n,) whole numbers from 0."""


@dataclass(frozen=True)
class Probed:
    """How well a simple classifier over frozen features does.

    Attributes:
        method: `knn` or `linear`.
        settings: what it was told or chose, such as `{"k": 20, "temperature": 0.07}` or `{"c": 0.1}`.
        figures: `top1`, `top5` (only for more than 5 classes) and others as fractions, and `n`, as `metrics.json` has
            them.
        per_class: a row a class: `name`, `precision`, `recall`, `f1`, `support`.
        predicted: (n,) int, the class that each judged image is taken for.
    """

    method: str
    settings: Mapping[str, float | int | None]
    figures: Mapping[str, float | int]
    per_class: Sequence[Mapping]
    predicted: np.ndarray


def checked(train: Labelled, judged: Labelled, class_names: Sequence[str]) -> tuple[Labelled, Labelled]:
    """Both as arrays that fit together.

    Raises:
        InputError: other shapes, features that are no numbers, labels outside the classes, or training images of one
            class only.
    """
    train, judged = (_arrays(pair, what, len(class_names)) for pair, what in ((train, "train"), (judged, "judged")))
    if train[0].shape[1] != judged[0].shape[1]:
        raise InputError(
            f"The features of training images have {train[0].shape[1]} numbers and those that are judged "
            f"{judged[0].shape[1]}: take both from one encoder."
        )
    check_classes(train[1], class_names)
    return train, judged


def check_classes(labels: np.ndarray, class_names: Sequence[str]) -> None:
    """Refuses training images of one class.

    Raises:
        InputError: says which.
    """
    if len(np.unique(labels)) < 2:
        raise InputError(
            f"All {len(labels)} training images are of the class {class_names[labels[0]]!r}: a probe tells classes "
            "apart, so give images of at least two."
        )


def _arrays(pair: Labelled, what: str, classes: int) -> Labelled:
    features, labels = np.asarray(pair[0]), np.asarray(pair[1])
    if features.ndim != 2 or not len(features) or labels.shape != features.shape[:1] or labels.dtype.kind not in "iu":
        raise InputError(
            f"The {what} features have the shape {features.shape} and their labels are {labels.dtype} of shape "
            f"{labels.shape}: give (n, D) features of at least one image and n whole numbers."
        )
    if not np.isfinite(features).all():
        raise InputError(f"Some {what} features are NaN or infinite: the encoder has diverged, take another one.")
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            f"The {what} labels lie in {labels.min()}..{labels.max()}, and there are {classes} class names: give one "
            "for each class, the first being 0."
        )
    return features.astype(np.float32), labels.astype(np.int64)

"""What every kind of label answers: whole numbers for classes, `Masks` for pixels, `Boxes` for objects."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Labels(Protocol):
    """The labels of n images that are more than one number each, read when asked for."""

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, indices: np.ndarray) -> Labels:
        """The labels of the images at `indices`, in that order; nothing is read."""

    def counts(self, class_names: list[str]) -> dict[str, int]:
        """What there is, by name."""

    def digest(self, index: int) -> str:
        """A hash of one image's label."""

    def renumbered(self, lookup: np.ndarray) -> Labels:
        """The same labels with class i called `lookup[i]`."""


def as_labels(labels) -> np.ndarray | Labels:
    """Numbers as (n,) int64; any other kind of label as it is."""
    return np.asarray(labels, np.int64) if isinstance(labels, (list, tuple, np.ndarray)) else labels


def counts(labels: np.ndarray | Labels, class_names: list[str]) -> dict[str, int]:
    """Number of images by class name; of boxes by class name; or of images."""
    if not isinstance(labels, np.ndarray):
        return labels.counts(class_names)
    return dict(zip(class_names, np.bincount(labels, minlength=len(class_names)).tolist(), strict=True))


def digest(labels: np.ndarray | Labels, index: int) -> str:
    """The class number of one image, or a hash of its mask or boxes."""
    return str(int(labels[index])) if isinstance(labels, np.ndarray) else labels.digest(index)


def renumbered(labels: np.ndarray | Labels, lookup: np.ndarray) -> np.ndarray | Labels:
    """The same labels with class i called `lookup[i]`."""
    return lookup[labels] if isinstance(labels, np.ndarray) else labels.renumbered(lookup)


def says(labels: np.ndarray | Labels, index: int, class_names: list[str]) -> str:
    """` (cat)` after an image's name where its label is one class, else nothing."""
    return f" ({class_names[labels[index]]})" if isinstance(labels, np.ndarray) else ""

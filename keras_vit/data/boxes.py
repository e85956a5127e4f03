"""Boxes: the objects of every image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Boxes:
    """The objects of n images; image i has k of them, which may be none.

    Attributes:
        boxes: n arrays (k, 4) float32: x0, y0, x1, y1 in pixels of the (upright) original image.
        classes: n arrays (k,) int64, from 0.
        crowd: n arrays (k,) bool: regions with many or difficult objects, never targets, but judges know them.
        areas: n arrays (k,) float32: the file's areas in pixels, which may be less than the box's.
        sizes: (n, 2) int64: height and width of the images as the annotations say, 0 where they do not.
    """

    boxes: list[np.ndarray]
    classes: list[np.ndarray]
    crowd: list[np.ndarray]
    areas: list[np.ndarray]
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, indices: np.ndarray) -> Boxes:
        indices = np.asarray(indices, np.int64)
        return Boxes(*([items[i] for i in indices] for items in self._lists()), sizes=self.sizes[indices])

    def targets(self, index: int) -> np.ndarray:
        """(k, 5) float32: box and class of each object of one image that is no crowd."""
        rows = np.concatenate([self.boxes[index], self.classes[index][:, None]], 1, dtype=np.float32)
        return rows[~self.crowd[index]]

    @property
    def most(self) -> int:
        """The largest number of targets that an image has."""
        return max((int((~crowd).sum()) for crowd in self.crowd), default=0)

    def counts(self, class_names: list[str]) -> dict[str, int]:
        """Number of boxes by class name, crowds left out."""
        kept = [c[~crowd] for c, crowd in zip(self.classes, self.crowd, strict=True)]
        found = np.bincount(np.concatenate(kept), minlength=len(class_names)) if kept else np.zeros(len(class_names))
        return dict(zip(class_names, found.astype(int).tolist(), strict=True))

    def digest(self, index: int) -> str:
        """A hash of all that is known of one image's objects."""
        return hashlib.blake2b(b"".join(items[index].tobytes() for items in self._lists()), digest_size=16).hexdigest()

    def renumbered(self, lookup: np.ndarray) -> Boxes:
        """The same boxes with class i called `lookup[i]`."""
        lookup = np.asarray(lookup, np.int64)
        return Boxes(self.boxes, [lookup[c] for c in self.classes], self.crowd, self.areas, self.sizes)

    def _lists(self) -> tuple[list[np.ndarray], ...]:
        return self.boxes, self.classes, self.crowd, self.areas


def make_boxes(rows: list[list[tuple]], sizes: list[tuple[int, int]] | None = None) -> Boxes:
    """Boxes from plain rows.

    Args:
        rows: for each image a list of (x0, y0, x1, y1, class, crowd, area); an area of None is the box's own.
        sizes: for each image (height, width) as its annotations say, or (0, 0).
    """
    boxes, classes, crowd, areas = [], [], [], []
    for found in rows:
        corners = np.array([row[:4] for row in found], np.float32).reshape(-1, 4)
        own = np.prod(corners[:, 2:] - corners[:, :2], 1)
        boxes.append(corners)
        classes.append(np.array([row[4] for row in found], np.int64))
        crowd.append(np.array([row[5] for row in found], bool))
        areas.append(np.array([a if row[6] is None else row[6] for row, a in zip(found, own, strict=True)], np.float32))
    known = np.zeros((len(rows), 2), np.int64) if sizes is None else np.array(sizes, np.int64).reshape(-1, 2)
    return Boxes(boxes, classes, crowd, areas, known)

"""Where an anchor-free detector looks, and how its distances become boxes (FCOS, Tian et al., 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from keras import ops


def grid_sizes(image_size: tuple[int, int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """(h, w) of every level: the places whose cells cover an image of (H, W) pixels."""
    return [tuple(math.ceil(side / stride) for side in image_size) for stride in strides]


def place_centres(image_size: tuple[int, int], strides: Sequence[int]) -> np.ndarray:
    """Where the places of all levels are: (A, 3) float32, x and y of a cell's centre in pixels, and its stride.

    Args:
        image_size: (H, W) in pixels.
        strides: cell sides in pixels, in the order of the model's outputs; a level's places go row by row.
    """
    levels = []
    for stride, (height, width) in zip(strides, grid_sizes(image_size, strides), strict=True):
        y, x = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
        levels.append(np.stack([x * stride, y * stride, np.full_like(x, stride)], axis=-1).reshape(-1, 3))
    return np.concatenate(levels).astype("float32")


def decode_boxes(distances, centres: np.ndarray):
    """Boxes from what is left, above, right and below of each place.

    Args:
        distances: (B, A, 4), at least 0, in strides of the place.
        centres: (A, 3), see `place_centres`.

    Returns:
        (B, A, 4): x0, y0, x1, y1 in pixels; they may reach out of the image.
    """
    # Constants in their final shape: an exported graph only multiplies and adds.
    steps = centres[:, 2:] * np.array([-1, -1, 1, 1], "float32")
    return ops.convert_to_tensor(np.tile(centres[:, :2], 2)) + distances * ops.convert_to_tensor(steps)

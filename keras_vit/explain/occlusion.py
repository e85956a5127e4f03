"""Occlusion: what the answer loses where something is covered."""

from __future__ import annotations

import numpy as np

from keras_vit.explain.asked import Asked, mean_colour, positive


def occlusion(asked: Asked, *, size: int = 3, stride: int = 1) -> np.ndarray:
    """How much less the model gives of what is asked where a square of patches has the mean colour: (B, h, w).

    Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014. The square moves over the image; a
    patch has the mean of what the answer lost over all squares that cover it, where it won counting as nothing. The
    only method that asks nothing but answers of the model: slow, and a judge of the others.

    Args:
        asked: images and what is explained.
        size: side of the square in patches, at most the grid's.
        stride: patches that the square moves by; the last one lies at the edge whatever it is.

    Raises:
        InputError: no positive size or stride.
    """
    positive("size", size)
    positive("stride", stride)
    replay, colour = asked.replay, mean_colour(asked.model)
    patch = replay.patch_size
    rows, columns = (_places(side, size, stride) for side in replay.grid)
    squares = [(row, column) for row in rows for column in columns]
    covered = np.zeros((len(squares), *replay.grid), "float32")
    for cover, square in zip(covered, squares, strict=True):
        cover[square] = 1
    maps = []
    for index, image in enumerate(asked.images):
        images = np.repeat(image[None], len(squares) + 1, axis=0)
        for masked, (row, column) in zip(images[1:], squares, strict=True):
            masked[row.start * patch : row.stop * patch, column.start * patch : column.stop * patch] = colour
        whole, *without = asked.values(images, index)
        lost = np.maximum(whole - np.array(without), 0)
        maps.append(np.tensordot(lost, covered, 1) / covered.sum(0))
    return np.stack(maps)


def _places(side: int, size: int, stride: int) -> list[slice]:
    """Where the square lies along one side of the grid."""
    last = max(side - size, 0)
    return [slice(start, start + size) for start in sorted({*range(0, last, stride), last})]

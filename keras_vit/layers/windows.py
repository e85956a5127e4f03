"""A patch grid cut into windows, inside which patches attend to each other (Li et al., "ViTDet", 2022)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from keras import ops

MASKED = -1e4
"""Added to scores that do not count: exp of it is zero, and float16 holds it."""


@dataclass(frozen=True)
class Windows:
    """Windows over a patch grid, row by row; those at the right and at the bottom are filled up where they stand out.

    Attributes:
        grid: (h, w) of the patches.
        window: (rows, columns) of a window, at most the grid's.
    """

    grid: tuple[int, int]
    window: tuple[int, int]

    @property
    def counts(self) -> tuple[int, int]:
        """Windows one below the other, and side by side."""
        return tuple(math.ceil(side / step) for side, step in zip(self.grid, self.window, strict=True))

    @property
    def filling(self) -> tuple[int, int]:
        """Rows and columns that are filled up."""
        filled = (count * step for count, step in zip(self.counts, self.window, strict=True))
        return tuple(larger - side for larger, side in zip(filled, self.grid, strict=True))

    def cut(self, patches):
        """(B, h * w, D) -> (B * windows, rows * columns, D), zeros where filled up. No rank is above 4."""
        (rows, columns), across = self.window, self.counts[1]
        maps = ops.reshape(patches, (-1, *self.grid, patches.shape[-1]))
        if any(self.filling):
            maps = ops.pad(maps, ((0, 0), (0, self.filling[0]), (0, self.filling[1]), (0, 0)))
        strips = ops.reshape(maps, (-1, rows, across, columns * patches.shape[-1]))
        return ops.reshape(ops.transpose(strips, (0, 2, 1, 3)), (-1, rows * columns, patches.shape[-1]))

    def join(self, patches):
        """What `cut` cut: (B * windows, rows * columns, D) -> (B, h * w, D)."""
        (rows, columns), (down, across) = self.window, self.counts
        width = patches.shape[-1]
        strips = ops.transpose(ops.reshape(patches, (-1, across, rows, columns * width)), (0, 2, 1, 3))
        maps = ops.reshape(strips, (-1, down * rows, across * columns, width))
        height, breadth = self.grid
        return ops.reshape(maps[:, :height, :breadth], (-1, height * breadth, width))

    def mask(self, prefix: int) -> np.ndarray | None:
        """(windows, prefix + rows * columns), zero for tokens, `MASKED` for filling; None where nothing is filled."""
        if not any(self.filling):
            return None
        (rows, columns), (down, across) = self.window, self.counts
        filling = np.full((down * rows, across * columns), MASKED, "float32")
        filling[: self.grid[0], : self.grid[1]] = 0
        cells = filling.reshape(down, rows, across, columns).transpose(0, 2, 1, 3).reshape(down * across, -1)
        return np.pad(cells, ((0, 0), (prefix, 0)))

    def first(self) -> np.ndarray:
        """Indices of the first window's patches in the grid: offsets between patches are the same in every window."""
        return np.arange(math.prod(self.grid)).reshape(self.grid)[: self.window[0], : self.window[1]].reshape(-1)

    def pairs(self, prefix: int) -> np.ndarray:
        """(N, N), zero where a token attends to another, `MASKED` elsewhere, for N = prefix + h * w tokens."""
        rows, columns = np.indices(self.grid).reshape(2, -1) // np.array(self.window)[:, None]
        apart = (rows[:, None] != rows) | (columns[:, None] != columns)
        return np.pad(np.where(apart, MASKED, 0).astype("float32"), ((prefix, 0), (prefix, 0)))

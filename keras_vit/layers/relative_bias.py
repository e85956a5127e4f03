"""A learned bias on attention scores for every head and every offset between two patches (BEiT)."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_vit.layers.base import ViTLayer

PREFIX_ENTRIES = 3
"""The last rows of a table: class token to patch, patch to class token, class token to itself."""


def relative_index(grid: tuple[int, int]) -> np.ndarray:
    """Which row of the bias table belongs to each pair of tokens, the class token first (Bao et al., 2022).

    Args:
        grid: (h, w) of the patches.

    Returns:
        (1 + h * w, 1 + h * w), int32.
    """
    height, width = grid
    rows, columns = (axis.reshape(-1) for axis in np.mgrid[:height, :width])
    offsets = (rows[:, None] - rows + height - 1) * (2 * width - 1) + columns[:, None] - columns + width - 1
    offset_count = (2 * height - 1) * (2 * width - 1)
    index = np.empty((1 + height * width,) * 2, "int32")
    index[0], index[:, 0], index[0, 0] = offset_count, offset_count + 1, offset_count + 2
    index[1:, 1:] = offsets
    return index


def _interpolation(old: int, new: int) -> np.ndarray:
    """(new, old) weights from a table axis to another one.

    The old offsets are laid among the new ones in a geometric progression that is dense around zero.
    """
    half, low, high = old // 2, 1.01, 1.5
    while high - low > 1e-6:
        ratio = (low + high) / 2
        reached = (1 - ratio**half) / (1 - ratio)
        low, high = (low, ratio) if reached > new // 2 else (ratio, high)
    steps = np.cumsum(ratio ** np.arange(half))
    sources = np.concatenate([-steps[::-1], [0.0], steps])
    targets = np.arange(new) - new // 2
    return np.stack([np.interp(targets, sources, row) for row in np.eye(old)], axis=1)


def resample_bias(table: np.ndarray, old_grid: tuple[int, int], new_grid: tuple[int, int]) -> np.ndarray:
    """Fits a bias table to another patch grid, finely for near patches and coarsely for far ones.

    BEiT's geometric interpolation in timm's linear form (`resize_rel_pos_bias_table`).

    Args:
        table: ((2 h - 1) * (2 w - 1) + 3, heads).
        old_grid: (h, w) that the table was learned for.
        new_grid: (h, w) that is asked for.

    Returns:
        ((2 new h - 1) * (2 new w - 1) + 3, heads), float32.

    Raises:
        ValueError: the table does not have the number of rows that the old grid says.
    """
    old, new = (tuple(2 * side - 1 for side in grid) for grid in (old_grid, new_grid))
    table = np.asarray(table, "float32")
    if len(table) != old[0] * old[1] + PREFIX_ENTRIES:
        raise ValueError(f"A bias table of {len(table)} rows does not fit a {tuple(old_grid)} grid.")
    if old == new:
        return table
    rows, columns = (_interpolation(*pair) for pair in zip(old, new, strict=True))
    maps = table[:-PREFIX_ENTRIES].reshape(*old, -1)
    resized = np.einsum("yi,xj,ijh->yxh", rows, columns, maps).reshape(new[0] * new[1], -1)
    return np.concatenate([resized, table[-PREFIX_ENTRIES:]]).astype("float32")


@keras.saving.register_keras_serializable(package="keras_vit")
class RelativePositionBias(ViTLayer):
    """The bias that attention adds to its scores.

    The patch grid is saved beside the table. A table saved for another grid is resampled when it is loaded.

    Args:
        num_heads: attention heads.
        grid: (h, w) of the patches; one class token stands before them.

    Shapes: (B, 1 + h * w, D) -> (1, heads, 1 + h * w, 1 + h * w), whatever the tokens are.
    """

    def __init__(self, num_heads: int, grid: tuple[int, int], **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.grid = tuple(grid)

    def build(self, input_shape):
        """Creates the table, zero at first."""
        rows = (2 * self.grid[0] - 1) * (2 * self.grid[1] - 1) + PREFIX_ENTRIES
        self.table = self.add_weight(shape=(rows, self.num_heads), initializer="zeros", name="table")
        self.index = relative_index(self.grid)

    def call(self, tokens):
        """(B, 1 + h * w, D) -> (1, heads, 1 + h * w, 1 + h * w)."""
        # Along axis 0 TensorFlow would give a sparse gradient that repeats rows, and Adam would square it row by row.
        bias = ops.take(ops.transpose(self.table), self.index, axis=1)
        return ops.cast(ops.expand_dims(bias, 0), tokens.dtype)

    def compute_output_shape(self, input_shape):
        """A score's shape, for a batch of one."""
        return (1, self.num_heads, input_shape[1], input_shape[1])

    def assign_from(self, table: np.ndarray, grid: tuple[int, int]) -> None:
        """Takes over a table learned for `grid`, resampled to this layer's own grid."""
        self.table.assign(resample_bias(table, tuple(grid), self.grid))

    def save_own_variables(self, store):
        """Writes the table and its grid."""
        store["table"] = np.asarray(self.table)
        store["grid"] = np.asarray(self.grid)

    def load_own_variables(self, store):
        """Reads a table, resampling it if it was learned for another grid."""
        self.assign_from(np.asarray(store["table"]), tuple(int(n) for n in store["grid"]))

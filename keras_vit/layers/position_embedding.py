"""Learned absolute positions that know their patch grid and resample themselves to another one."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_vit.layers.base import ViTLayer
from keras_vit.layers.initializers import kernel_initializer


def resample_positions(
    table: np.ndarray, old_grid: tuple[int, int], new_grid: tuple[int, int], prefix: int
) -> np.ndarray:
    """Resizes a position table from one patch grid to another, leaving the prefix tokens as they are.

    Antialiased bicubic in float32, as timm's `resample_abs_pos_embed` does.

    Args:
        table: (prefix + h * w, D).
        old_grid: (h, w) that the table was learned for.
        new_grid: (h, w) that is asked for.
        prefix: number of leading rows that belong to no patch (class token, registers).

    Returns:
        (prefix + new h * new w, D), float32.

    Raises:
        ValueError: the table does not have the number of rows that the old grid says.
    """
    table = np.asarray(table, "float32")
    if table.shape[0] != prefix + old_grid[0] * old_grid[1]:
        raise ValueError(f"A position table of {table.shape[0]} rows does not fit a {old_grid} grid + {prefix}.")
    if tuple(old_grid) == tuple(new_grid):
        return table
    maps = table[prefix:].reshape(1, *old_grid, table.shape[1])
    resized = ops.image.resize(
        maps, tuple(new_grid), interpolation="bicubic", antialias=True, data_format="channels_last"
    )
    rows = ops.convert_to_numpy(resized).reshape(-1, table.shape[1])
    return np.concatenate([table[:prefix], rows])


def sincos_positions(grid: tuple[int, int], prefix: int, width: int) -> np.ndarray:
    """Sines and cosines of the patches' columns and rows (Beyer et al., "Better plain ViT baselines", 2022).

    Args:
        grid: (h, w) of the patches.
        prefix: number of leading rows that belong to no patch; they are zero.
        width: embedding dimension D, a multiple of 4.

    Returns:
        (prefix + h * w, D), float32.
    """
    if width % 4:
        raise ValueError(f"Sine and cosine positions need a width that 4 divides, not {width}.")
    rows, columns = (axis.reshape(-1, 1) for axis in np.mgrid[: grid[0], : grid[1]])
    frequencies = 10_000.0 ** -np.linspace(0, 1, width // 4)
    waves = [wave(axis * frequencies) for axis in (columns, rows) for wave in (np.sin, np.cos)]
    return np.concatenate([np.zeros((prefix, width)), np.concatenate(waves, axis=1)]).astype("float32")


@keras.saving.register_keras_serializable(package="keras_vit")
class PositionEmbedding(ViTLayer):
    """Adds a learned vector to every token.

    The patch grid is saved beside the weight. Weights saved for another grid (another image size, a rectangle) are
    resampled when they are loaded.

    Args:
        grid: (h, w) of the patches.
        prefix: number of tokens before the patches.
        sincos: start from sines and cosines instead of truncated normal 0.02; the table learns all the same.
        init: `zeros` leaves the table zero because loaded weights follow.
        seed: of the initial table.

    Shapes: (B, prefix + h * w, D) in and out.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        prefix: int = 1,
        sincos: bool = False,
        init: str = "normal",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.grid = tuple(grid)
        self.prefix = prefix
        self.sincos = sincos
        self.init = init
        self.seed = seed

    def build(self, input_shape):
        """Creates the table, shape (prefix + h * w, D)."""
        width = input_shape[-1]
        if self.sincos and self.init != "zeros":
            initializer = keras.initializers.Constant(sincos_positions(self.grid, self.prefix, width))
        else:
            # Truncated normal in any case: Xavier's scale means nothing for a table that is added, not multiplied.
            initializer = kernel_initializer("zeros" if self.init == "zeros" else "normal", self.seed)
        shape = (self.prefix + self.grid[0] * self.grid[1], width)
        self.embedding = self.add_weight(shape=shape, initializer=initializer, name="embedding")

    def call(self, tokens):
        """Adds the table to every image's tokens."""
        return ops.add(tokens, ops.cast(self.embedding, tokens.dtype))

    def compute_output_shape(self, input_shape):
        """The shape does not change."""
        return input_shape

    def assign_from(self, table: np.ndarray, grid: tuple[int, int]) -> None:
        """Takes over a table learned for `grid`, resampled to this layer's own grid."""
        self.embedding.assign(resample_positions(table, tuple(grid), self.grid, self.prefix))

    def save_own_variables(self, store):
        """Writes the table and its grid."""
        store["embedding"] = np.asarray(self.embedding)
        store["grid"] = np.asarray(self.grid)

    def load_own_variables(self, store):
        """Reads a table, resampling it if it was learned for another grid."""
        self.assign_from(np.asarray(store["embedding"]), tuple(int(n) for n in store["grid"]))

"""From tokens to a map: the patches in their places."""

from __future__ import annotations

import keras
from keras import ops

from keras_vit.layers.base import ViTLayer


@keras.saving.register_keras_serializable(package="keras_vit")
class PatchMap(ViTLayer):
    """Leaves the prefix tokens out and puts the patches where they were in the image.

    Args:
        grid: (h, w) of the patches.
        prefix: number of tokens before the patches.

    Shapes: (B, prefix + h * w, D) -> (B, h, w, D).
    """

    def __init__(self, grid: tuple[int, int], prefix: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.grid = tuple(grid)
        self.prefix = prefix
        self.built = True

    def call(self, tokens):
        """(B, prefix + h * w, D) -> (B, h, w, D)."""
        return ops.reshape(tokens[:, self.prefix :], (-1, *self.grid, tokens.shape[-1]))

    def compute_output_shape(self, input_shape):
        """(B, N, D) -> (B, h, w, D)."""
        return (input_shape[0], *self.grid, input_shape[-1])

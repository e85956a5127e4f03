"""Patch tokenisation: one linear map of every non-overlapping patch (Dosovitskiy et al., 2021)."""

from __future__ import annotations

import keras
from keras import ops

from keras_vit.layers.base import ViTLayer


@keras.saving.register_keras_serializable(package="keras_vit")
class PatchEmbedding(ViTLayer):
    """Cuts an image into patches and embeds each as a token, row by row.

    The kernel starts as LeCun normal, as in Google's ViT: its fan-in varies from 4 to 2352 with the patch size, so
    that a fixed standard deviation would suit only one of them.

    Args:
        patch_size: side of a patch in pixels; must divide height and width.
        width: embedding dimension D.
        use_bias: whether tokens get a bias (where they are normalised next, as in CLIP, they have none).
        init: `zeros` leaves the kernel zero because loaded weights follow; otherwise it is LeCun normal.
        seed: of the initial kernel.

    Shapes: (B, H, W, channels) -> (B, H / patch_size * W / patch_size, D).
    """

    def __init__(
        self,
        patch_size: int,
        width: int,
        use_bias: bool = True,
        init: str = "normal",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.patch_size = patch_size
        self.width = width
        self.use_bias = use_bias
        self.init = init
        self.seed = seed
        self.projection = keras.layers.Conv2D(
            width,
            patch_size,
            strides=patch_size,
            use_bias=use_bias,
            kernel_initializer=keras.initializers.LecunNormal(seed=seed) if init != "zeros" else "zeros",
            data_format="channels_last",
            dtype=self.dtype_policy,
            name="projection",
        )

    def build(self, input_shape):
        """Creates the projection."""
        self.projection.build(input_shape)

    def call(self, images):
        """(B, H, W, channels) -> (B, N, D)."""
        return ops.reshape(self.projection(images), (-1, *self.compute_output_shape(images.shape)[1:]))

    def compute_output_shape(self, input_shape):
        """(B, H, W, channels) -> (B, N, D)."""
        batch, height, width = input_shape[:3]
        return (batch, (height // self.patch_size) * (width // self.patch_size), self.width)

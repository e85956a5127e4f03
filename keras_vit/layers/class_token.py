"""The learned token that gathers the image for the classifier."""

from __future__ import annotations

import keras
from keras import ops

from keras_vit.layers.base import ViTLayer


@keras.saving.register_keras_serializable(package="keras_vit")
class ClassToken(ViTLayer):
    """Puts one learned token, zero at first as in the ViT paper's code, before the patch tokens.

    Shapes: (B, N, D) -> (B, 1 + N, D).
    """

    def build(self, input_shape):
        """Creates the token, shape (1, 1, D)."""
        self.token = self.add_weight(shape=(1, 1, input_shape[-1]), initializer="zeros", name="token")

    def call(self, tokens):
        """(B, N, D) -> (B, 1 + N, D)."""
        token = ops.cast(self.token, tokens.dtype)
        return ops.concatenate([ops.broadcast_to(token, (ops.shape(tokens)[0], 1, tokens.shape[-1])), tokens], axis=1)

    def compute_output_shape(self, input_shape):
        """One token more."""
        return (input_shape[0], input_shape[1] + 1, input_shape[2])

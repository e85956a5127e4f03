"""Learned tokens before the patches: the class token and the registers."""

from __future__ import annotations

import keras
from keras import ops

from keras_vit.layers.base import ViTLayer
from keras_vit.layers.initializers import kernel_initializer


@keras.saving.register_keras_serializable(package="keras_vit")
class PrefixTokens(ViTLayer):
    """Puts learned tokens before the sequence.

    One that gathers the image for the classifier (the class token, zero at first as in the ViT paper's code), or
    several that give the network room to keep what belongs to no patch (registers, Darcet et al., 2024), drawn at
    random, because equal registers would stay equal.

    Args:
        count: how many.
        seed: of the initial registers.

    Shapes: (B, N, D) -> (B, count + N, D).
    """

    def __init__(self, count: int = 1, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.count = count
        self.seed = seed

    def build(self, input_shape):
        """Creates the tokens, shape (1, count, D)."""
        initializer = "zeros" if self.count == 1 else kernel_initializer("normal", self.seed)
        self.tokens = self.add_weight(shape=(1, self.count, input_shape[-1]), initializer=initializer, name="tokens")

    def call(self, tokens):
        """(B, N, D) -> (B, count + N, D)."""
        own = ops.cast(self.tokens, tokens.dtype)
        own = ops.broadcast_to(own, (ops.shape(tokens)[0], self.count, tokens.shape[-1]))
        return ops.concatenate([own, tokens], axis=1)

    def compute_output_shape(self, input_shape):
        """Some tokens more."""
        return (input_shape[0], self.count + input_shape[1], input_shape[2])

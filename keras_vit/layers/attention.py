"""Multi-head self-attention with one fused projection for queries, keys and values."""

from __future__ import annotations

import keras
from keras import ops

from keras_vit.layers.base import ViTLayer
from keras_vit.layers.initializers import dense


def attend(query, key, value, num_heads: int):
    """Scaled dot-product attention of several heads (Vaswani et al., 2017).

    The query is scaled before the product rather than the scores after it: in float16 large models overflow
    otherwise. The softmax runs in float32. Nothing has a rank above 4, so that edge delegates take the graph.

    Args:
        query: (B, M, D).
        key: (B, N, D).
        value: (B, N, D).
        num_heads: divides D.

    Returns:
        (B, M, D), the heads side by side.
    """

    def split(x):
        return ops.reshape(x, (-1, x.shape[1], num_heads, x.shape[2] // num_heads))

    scale = (query.shape[-1] // num_heads) ** -0.5
    mixed = ops.dot_product_attention(split(query * scale), split(key), split(value), scale=1.0)
    return ops.reshape(mixed, (-1, query.shape[1], value.shape[-1]))


@keras.saving.register_keras_serializable(package="keras_vit")
class SelfAttention(ViTLayer):
    """Every token looks at every token.

    Args:
        num_heads: divides the width D.
        init: how kernels are drawn, a key of `INITS`.
        seed: of the initial kernels.

    Shapes: (B, N, D) in and out. Weights: `qkv` (D, 3 D), queries, keys and values in this order; `projection` (D, D).
    """

    def __init__(self, num_heads: int, init: str = "normal", seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.init = init
        self.seed = seed

    def build(self, input_shape):
        """Creates the two projections."""
        width = input_shape[-1]
        self.qkv = dense(self, "qkv", 3 * width, 0)
        self.projection = dense(self, "projection", width, 1)
        self.qkv.build(input_shape)
        self.projection.build(input_shape)

    def call(self, tokens):
        """(B, N, D) -> (B, N, D)."""
        query, key, value = ops.split(self.qkv(tokens), 3, axis=-1)
        return self.projection(attend(query, key, value, self.num_heads))

    def compute_output_shape(self, input_shape):
        """The shape does not change."""
        return input_shape

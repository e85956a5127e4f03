"""The two-layer perceptron of an encoder block."""

from __future__ import annotations

import keras

from keras_vit.layers.base import ViTLayer
from keras_vit.layers.initializers import child_seed, dense


@keras.saving.register_keras_serializable(package="keras_vit")
class MLP(ViTLayer):
    """Dense, exact (erf) GELU, dense, with dropout after both.

    Args:
        hidden_dim: units of the first dense layer; the second returns to the input's width.
        dropout: rate after each dense layer.
        init: how kernels are drawn, a key of `INITS`.
        seed: of the initial kernels and the dropout masks.

    Shapes: (B, N, D) in and out.
    """

    def __init__(
        self,
        hidden_dim: int,
        dropout: float = 0.0,
        init: str = "normal",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.init = init
        self.seed = seed

    def build(self, input_shape):
        """Creates the two dense layers."""
        self.expand = dense(self, "expand", self.hidden_dim, 0)
        self.expand.build(input_shape)
        self.contract = dense(self, "contract", input_shape[-1], 1)
        self.contract.build((*input_shape[:-1], self.hidden_dim))
        self.hidden_dropout = self._dropout("hidden_dropout", 2)
        self.output_dropout = self._dropout("output_dropout", 3)

    def _dropout(self, name: str, index: int):
        seed = child_seed(self.seed, index)
        return keras.layers.Dropout(self.dropout, seed=seed, dtype=self.dtype_policy, name=name)

    def call(self, tokens, training=None):
        """(B, N, D) -> (B, N, D)."""
        hidden = keras.activations.gelu(self.expand(tokens), approximate=False)
        hidden = self.hidden_dropout(hidden, training=training)
        return self.output_dropout(self.contract(hidden), training=training)

    def compute_output_shape(self, input_shape):
        """The shape does not change."""
        return input_shape

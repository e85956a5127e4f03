"""The two-layer perceptron of an encoder block."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import ops

from keras_vit.layers import fused
from keras_vit.layers.base import ViTLayer
from keras_vit.layers.dropout import Dropout
from keras_vit.layers.initializers import child_seed, dense

ACTIVATIONS: dict[str, Callable] = {
    "gelu": lambda x: keras.activations.gelu(x, approximate=False),
    "gelu_tanh": lambda x: keras.activations.gelu(x, approximate=True),
    "quick_gelu": lambda x: x * ops.sigmoid(1.702 * x),
}
"""`gelu`: the exact (erf) form. `gelu_tanh`: its approximation, JAX's default (SigLIP). `quick_gelu`: OpenAI's CLIP."""


@keras.saving.register_keras_serializable(package="keras_vit")
class MLP(ViTLayer):
    """Dense, activation, dense, with dropout after both; or SwiGLU (Shazeer, 2020).

    Args:
        hidden_dim: units of the first dense layer (of each of its two branches where it is gated); the second returns
            to the input's width.
        dropout: rate after each dense layer.
        activation: a key of `ACTIVATIONS`.
        gated: `silu(gate) * value` instead of the activation; the first dense layer computes the gates and then the
            values, 2 x hidden_dim units.
        norm_epsilon: of a layer normalisation before the second dense layer (sub-LN); None for none.
        init: how kernels are drawn, a key of `INITS`.
        seed: of the initial kernels and the dropout masks.

    Shapes: (B, N, D) in and out.
    """

    def __init__(
        self,
        hidden_dim: int,
        dropout: float = 0.0,
        activation: str = "gelu",
        gated: bool = False,
        norm_epsilon: float | None = None,
        init: str = "normal",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is one of {', '.join(ACTIVATIONS)}, not {activation!r}.")
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.activation = activation
        self.gated = gated
        self.norm_epsilon = norm_epsilon
        self.init = init
        self.seed = seed
        self.norm = None

    def build(self, input_shape):
        """Creates the two dense layers."""
        self.expand = dense(self, "expand", self.hidden_dim * (2 if self.gated else 1), 0)
        self.expand.build(input_shape)
        hidden_shape = (*input_shape[:-1], self.hidden_dim)
        if self.norm_epsilon is not None:
            self.norm = keras.layers.LayerNormalization(epsilon=self.norm_epsilon, dtype=self.dtype_policy, name="norm")
            self.norm.build(hidden_shape)
        self.contract = dense(self, "contract", input_shape[-1], 1)
        self.contract.build(hidden_shape)
        self.hidden_dropout = self._dropout("hidden_dropout", 2)
        self.output_dropout = self._dropout("output_dropout", 3)

    def _dropout(self, name: str, index: int):
        seed = child_seed(self.seed, index)
        return Dropout(self.dropout, seed=seed, dtype=self.dtype_policy, name=name)

    def draw(self) -> list:
        """The seeds of the next masks, for `call`."""
        return [self.hidden_dropout.draw(), self.output_dropout.draw()]

    def call(self, tokens, training=None, seeds=(None, None)):
        """(B, N, D) -> (B, N, D); masks follow from `seeds` where they are given."""
        hidden = self.expand(tokens)
        if self.gated:
            gate, value = ops.split(hidden, 2, axis=-1)
            hidden = ops.silu(gate) * value
        elif self.activation == "gelu" and fused.trains_on_tensorflow(training):
            hidden = fused.gelu(hidden)
        else:
            hidden = ACTIVATIONS[self.activation](hidden)
        hidden = self.hidden_dropout(hidden, training=training, seed=seeds[0])
        if self.norm:
            hidden = self.norm(hidden)
        return self.output_dropout(self.contract(hidden), training=training, seed=seeds[1])

    def compute_output_shape(self, input_shape):
        """The shape does not change."""
        return input_shape

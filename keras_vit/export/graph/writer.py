"""The parts that every network is written with: named scopes, stored weights, linear maps, normalisations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from keras_vit.export.graph.network import Linear, Norm, Perceptron

ACTIVATIONS = {
    # Written out: converters to TFLite fuse it into one GELU, and those to ONNX know no other form of it.
    "gelu": lambda x: 0.5 * x * (1.0 + tf.math.erf(x * 0.7071067811865476)),
    "gelu_tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "quick_gelu": lambda x: x * tf.sigmoid(1.702 * x),
}


class Writer(tf.Module):
    """Writes operations under named scopes and keeps their weights.

    Args:
        name: of the module.
        integer: the writing that suits integer kernels.
    """

    def __init__(self, name: str, *, integer: bool):
        super().__init__(name=name)
        self.integer = integer
        self._path: list[str] = []
        self._stored: dict[str, tf.Variable] = {}

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Names of operations and variables within: what sets a layer of a file apart from another one."""
        self._path.append(name)
        with tf.name_scope(name):
            yield
        self._path.pop()

    def path(self, name: str) -> str:
        """A name within the scopes of the moment."""
        return "/".join((*self._path, name))

    def variable(self, name: str, value: np.ndarray) -> tf.Variable:
        """A weight, made when it is first asked for and then kept.

        Variables and not constants: a graph with constants of more than 2 GB cannot be stored.
        """
        path = self.path(name)
        if path not in self._stored:
            with tf.init_scope():
                self._stored[path] = tf.Variable(value, trainable=False, name=name)
        return self._stored[path]

    def linear(self, x: tf.Tensor, name: str, *maps: Linear) -> tf.Tensor:
        """(n, in) -> (n, out); several maps of the same inputs are one product, its outputs side by side."""
        with self.scope(name):
            kernel = self.variable("kernel", np.concatenate([m.kernel for m in maps], axis=1))
            bias = self.variable("bias", np.concatenate([m.bias for m in maps]))
            return tf.matmul(x, kernel) + bias

    def norm(self, x: tf.Tensor, name: str, norm: Norm) -> tf.Tensor:
        """(n, D) -> (n, D)."""
        with self.scope(name):
            if not norm.zero_mean:
                x = x - tf.reduce_mean(x, -1, keepdims=True)
            x = x * tf.math.rsqrt(self._variance(x, norm))
            if norm.scale is not None:
                x = x * self.variable("scale", norm.scale) + self.variable("shift", norm.shift)
            return x

    def _variance(self, x: tf.Tensor, norm: Norm) -> tf.Tensor:
        """(n, D) with a mean of zero -> (n, 1), with epsilon."""
        weights = np.ones(x.shape[-1]) if norm.stretch is None else norm.stretch.astype("float64") ** 2
        if self.integer:
            # As a product with a column: integer kernels sum in 32 bits and round once.
            column = (weights / len(weights)).astype("float32")[:, None]
            return self.linear(x * x, "variance", Linear(column, np.full(1, norm.epsilon, "float32")))
        squares = x * x if norm.stretch is None else x * x * self.variable("weights", weights.astype("float32"))
        return tf.reduce_mean(squares, -1, keepdims=True) + norm.epsilon

    def perceptron(self, x: tf.Tensor, mlp: Perceptron) -> tf.Tensor:
        """(n, D) -> (n, D)."""
        with self.scope("mlp"):
            if mlp.gate:
                gate, hidden = tf.split(self.linear(x, "expand", mlp.gate, mlp.expand), 2, axis=-1)
                with self.scope("activation"):
                    hidden = gate * tf.sigmoid(gate) * hidden
            else:
                hidden = self.linear(x, "expand", mlp.expand)
                with self.scope("activation"):
                    hidden = ACTIVATIONS[mlp.activation](hidden)
            if mlp.norm:
                hidden = self.norm(hidden, "norm", mlp.norm)
            return self.linear(hidden, "contract", mlp.contract)

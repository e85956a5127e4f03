"""From a network's description to TensorFlow operations that every target of an export takes.

Tokens are kept as (B * N, D), so that every map of them is a plain matrix product; only attention unfolds them. No
tensor has more than four axes, no shape is computed while running, and where the batch is fixed every shape is
static: delegates refuse anything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from keras_vit.export.graph.attention import batched_attention, flat_attention
from keras_vit.export.graph.network import Block, Classifier, Linear, MapPooling, Network, Norm, Perceptron

OUTPUT = "probabilities"
"""Name of the one output of every exported file."""

ACTIVATIONS = {
    # Written out: converters to TFLite fuse it into one GELU, and those to ONNX know no other form of it.
    "gelu": lambda x: 0.5 * x * (1.0 + tf.math.erf(x * 0.7071067811865476)),
    "gelu_tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "quick_gelu": lambda x: x * tf.sigmoid(1.702 * x),
}


class ExportGraph(tf.Module):
    """A network as a function of images.

    Args:
        network: the description.
        batch: number of images in every call, or None for any number.
        integer: the writing that suits integer kernels: attention as plain products a head, where delegates have no
            integer kernels for batched ones, and the variance of a normalisation as a product. Needs a batch of 1.
        softmax: give probabilities instead of logits.

    Shapes: float32 (B, H, W, channels), pixels 0..255 -> (B, C).
    """

    def __init__(self, network: Network, *, batch: int | None = None, integer: bool = False, softmax: bool = True):
        super().__init__(name=network.name.replace("/", "_"))
        if integer and batch != 1:
            raise ValueError(f"The writing for integer kernels takes one image at a time, not a batch of {batch}.")
        self.network = network
        self.batch = batch
        self.integer = integer
        self.softmax = softmax
        self.input_shape = (batch, *network.image_size, network.channels)
        self.output_shape = (batch, len(network.head.linear.bias))
        self._path: list[str] = []
        self._stored: dict[str, tf.Variable] = {}

    def __call__(self, image: tf.Tensor) -> tf.Tensor:
        """(B, H, W, channels) -> (B, C)."""
        tokens, count = self._embed(image), self.network.num_tokens
        for index, block in enumerate(self.network.blocks):
            with self._scope(f"block_{index}"):
                tokens, count = self._block(tokens, count, block)
        with self._scope("head"):
            logits = self._classify(tokens, count, self.network.head)
        return tf.nn.softmax(logits, name=OUTPUT) if self.softmax else logits

    @contextmanager
    def _scope(self, name: str) -> Iterator[None]:
        """Names of operations and variables within: what sets a layer of a file apart from another one."""
        self._path.append(name)
        with tf.name_scope(name):
            yield
        self._path.pop()

    def _variable(self, name: str, value: np.ndarray) -> tf.Variable:
        # Variables and not constants: a graph with constants of more than 2 GB cannot be stored.
        path = "/".join((*self._path, name))
        if path not in self._stored:
            with tf.init_scope():
                self._stored[path] = tf.Variable(value, trainable=False, name=name)
        return self._stored[path]

    def _linear(self, x: tf.Tensor, name: str, *maps: Linear) -> tf.Tensor:
        """Several maps of the same inputs are one product, its outputs side by side."""
        with self._scope(name):
            kernel = self._variable("kernel", np.concatenate([m.kernel for m in maps], axis=1))
            bias = self._variable("bias", np.concatenate([m.bias for m in maps]))
            return tf.matmul(x, kernel) + bias

    def _norm(self, x: tf.Tensor, name: str, norm: Norm) -> tf.Tensor:
        with self._scope(name):
            if not norm.zero_mean:
                x = x - tf.reduce_mean(x, -1, keepdims=True)
            x = x * tf.math.rsqrt(self._variance(x, norm))
            if norm.scale is not None:
                x = x * self._variable("scale", norm.scale) + self._variable("shift", norm.shift)
            return x

    def _variance(self, x: tf.Tensor, norm: Norm) -> tf.Tensor:
        """(..., D) with a mean of zero -> (..., 1), with epsilon."""
        weights = np.ones(x.shape[-1]) if norm.stretch is None else norm.stretch.astype("float64") ** 2
        if self.integer:
            # As a product with a column: integer kernels sum in 32 bits and round once.
            column = (weights / len(weights)).astype("float32")[:, None]
            return self._linear(x * x, "variance", Linear(column, np.full(1, norm.epsilon, "float32")))
        squares = x * x if norm.stretch is None else x * x * self._variable("weights", weights.astype("float32"))
        return tf.reduce_mean(squares, -1, keepdims=True) + norm.epsilon

    def _embed(self, image: tf.Tensor) -> tf.Tensor:
        net = self.network
        width = net.start.shape[1]
        with self._scope("patch_embedding"):
            if net.patch > 1:
                image = tf.nn.space_to_depth(image, net.patch)
            tokens = self._linear(tf.reshape(image, (-1, len(net.patches.kernel))), "projection", net.patches)
        with self._scope("tokens"):
            tokens = tf.reshape(tokens, (self._images, net.num_tokens - net.prefix, width))
            if net.prefix:
                tokens = tf.pad(tokens, ((0, 0), (net.prefix, 0), (0, 0)))
            tokens = tf.reshape(tokens + self._variable("start", net.start), (-1, width))
        if net.patch_norm:
            tokens = self._norm(tokens, "patch_norm", net.patch_norm)
        if net.centre:
            tokens = tokens - tf.reduce_mean(tokens, -1, keepdims=True)
        if net.shrink is not None:
            tokens = tokens * self._variable("shrink", net.shrink)
        return tokens

    @property
    def _images(self) -> int:
        """The batch, as reshaping takes it."""
        return -1 if self.batch is None else self.batch

    def _first(self, tokens: tf.Tensor, count: int, keep: int) -> tf.Tensor:
        """The first tokens of every image."""
        width = tokens.shape[-1]
        return tf.reshape(tf.reshape(tokens, (self._images, count, width))[:, :keep], (-1, width))

    def _block(self, tokens: tf.Tensor, count: int, block: Block) -> tuple[tf.Tensor, int]:
        normed = self._norm(tokens, "norm1", block.norm1)
        attention = block.attention
        with self._scope("attention"):
            if block.keep is None:
                kept = count
                maps = (attention.query, attention.key, attention.value)
                query, key, value = tf.split(self._linear(normed, "qkv", *maps), 3, axis=-1)
            else:
                kept = block.keep
                tokens = self._first(tokens, count, kept)
                query = self._linear(self._first(normed, count, kept), "query", attention.query)
                key, value = tf.split(self._linear(normed, "key_value", attention.key, attention.value), 2, axis=-1)
            mixed = self._attend(query, key, value, kept, count, attention)
            branch = self._linear(mixed, "projection", attention.projection)
        with self._scope("add1"):
            tokens = tokens + branch
        branch = self._perceptron(self._norm(tokens, "norm2", block.norm2), block.mlp)
        with self._scope("add2"):
            return tokens + branch, kept

    def _attend(self, query, key, value, queries: int, count: int, attention) -> tf.Tensor:
        attend = flat_attention if self.integer else batched_attention
        bias = None if attention.bias is None else self._variable("bias", attention.bias[:, :, :queries])
        return attend(query, key, value, attention, images=self._images, queries=queries, count=count, bias=bias)

    def _perceptron(self, x: tf.Tensor, mlp: Perceptron) -> tf.Tensor:
        with self._scope("mlp"):
            if mlp.gate:
                gate, hidden = tf.split(self._linear(x, "expand", mlp.gate, mlp.expand), 2, axis=-1)
                with self._scope("activation"):
                    hidden = gate * tf.sigmoid(gate) * hidden
            else:
                hidden = self._linear(x, "expand", mlp.expand)
                with self._scope("activation"):
                    hidden = ACTIVATIONS[mlp.activation](hidden)
            if mlp.norm:
                hidden = self._norm(hidden, "norm", mlp.norm)
            return self._linear(hidden, "contract", mlp.contract)

    def _classify(self, tokens: tf.Tensor, count: int, head: Classifier) -> tf.Tensor:
        width = tokens.shape[-1]
        if head.pooling == "token":
            features = self._norm(self._first(tokens, count, head.tokens), "norm", head.norm)
            features = tf.reshape(features, (-1, head.tokens * width))
        else:
            features = tokens if head.norm_after else self._norm(tokens, "norm", head.norm)
            with self._scope("pool"):
                if head.map:
                    features = self._map_pool(features, count, head.map)
                else:
                    features = tf.reshape(features, (self._images, count, width))[:, self.network.prefix :]
                    features = tf.reduce_mean(features, axis=1)
            if head.norm_after:
                features = self._norm(features, "norm", head.norm)
        return self._linear(features, "linear", head.linear)

    def _map_pool(self, tokens: tf.Tensor, count: int, pooling: MapPooling) -> tf.Tensor:
        attention = pooling.attention
        key, value = tf.split(self._linear(tokens, "key_value", attention.key, attention.value), 2, axis=-1)
        query = self._variable("query", pooling.query)
        pooled = self._attend(query, key, value, 1, count, attention)
        pooled = self._linear(pooled, "projection", attention.projection)
        return pooled + self._perceptron(self._norm(pooled, "norm", pooling.norm), pooling.mlp)

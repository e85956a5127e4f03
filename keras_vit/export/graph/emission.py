"""From a network's description to TensorFlow operations that every target of an export takes.

Tokens are kept as (B * N, D), so that every map of them is a plain matrix product; only attention unfolds them. No
tensor has more than four axes, no shape is computed while running, and where the batch is fixed every shape is
static: delegates refuse anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import tensorflow as tf

from keras_vit.export.graph.attention import attend
from keras_vit.export.graph.head import classify
from keras_vit.export.graph.network import NORMALISED, Block, Network, Norm, Tail
from keras_vit.export.graph.tokens import Tokens
from keras_vit.export.graph.writer import Writer
from keras_vit.layers.token_merging import merge_tokens

OUTPUT = "probabilities"
"""Name of a file's one output, where its graph does not name them."""

Finish = Callable[[tf.Tensor], dict[str, tf.Tensor]]
"""From a model's outputs to those of a file, by name."""


class ExportGraph(Writer):
    """A network as a function of images.

    Args:
        network: the description.
        batch: number of images in every call, or None for any number.
        integer: the writing that suits integer kernels: attention as plain products a head, where delegates have no
            integer kernels for batched ones, and the variance of a normalisation as a product. Needs a batch of 1.
        softmax: give probabilities of the last axis instead of logits.
        finish: what is made of the model's outputs, in place of a softmax.

    Shapes: float32 (B, H, W, channels), pixels 0..255 -> what the model gives, (B, C) for a classifier; by name where
    `finish` names it.
    """

    def __init__(
        self,
        network: Network,
        *,
        batch: int | None = None,
        integer: bool = False,
        softmax: bool = True,
        finish: Finish | None = None,
    ):
        super().__init__(network.name, integer=integer)
        if integer and batch != 1:
            raise ValueError(f"The writing for integer kernels takes one image at a time, not a batch of {batch}.")
        self.network = network
        self.softmax = softmax
        self.finish = finish
        self.input_shape = (batch, *network.image_size, network.channels)
        if isinstance(network.head, Tail):
            # What a module does not hold is not stored with it.
            self._layers_variables = network.head.variables

    def __call__(self, image: tf.Tensor) -> tf.Tensor | dict[str, tf.Tensor]:
        """(B, H, W, channels) -> the outputs."""
        head, tokens = self.network.head, self._embed(image)
        blocks = []
        for index, block in enumerate(self.network.blocks):
            with self.scope(f"block_{index}"):
                tokens = self._block(tokens, block)
            blocks.append(tokens)
        with self.scope("head"):
            if isinstance(head, Tail):
                outputs = self._tail(blocks, head)
            else:
                outputs = classify(self, tokens, head, self.network.prefix)
        if self.finish:
            return self.finish(outputs)
        return tf.nn.softmax(outputs, name=OUTPUT) if self.softmax else outputs

    def _tail(self, blocks: list[Tokens], tail: Tail) -> tf.Tensor:
        given = []
        for index in tail.reads:
            tokens = blocks[index]
            normed = self.norm(tokens.values, "norm", tail.norm) if index == NORMALISED else None
            given.append(tokens.unfolded(normed))
        for index, (layer, norm) in enumerate(tail.inner):
            layer.call = partial(self._inner_norm, norm, f"inner_{index}")
        return tail.layers(given if len(given) > 1 else given[0], training=False)

    def _inner_norm(self, norm: Norm, scope: str, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """What a layer inside the head normalises, (B, ..., D), written as all normalisations are; it stands for a
        layer's `call`, which is told whether it trains."""
        with self.scope(scope):
            return tf.reshape(self.norm(tf.reshape(x, (-1, x.shape[-1])), "norm", norm), (-1, *x.shape[1:]))

    def _embed(self, image: tf.Tensor) -> Tokens:
        net = self.network
        width, images = net.start.shape[1], self.input_shape[0] or -1
        with self.scope("patch_embedding"):
            if any(net.fill):
                image = tf.pad(image, ((0, 0), (0, net.fill[0]), (0, net.fill[1]), (0, 0)))
            if net.patch > 1:
                image = tf.nn.space_to_depth(image, net.patch)
            values = self.linear(tf.reshape(image, (-1, len(net.patches.kernel))), "projection", net.patches)
        with self.scope("tokens"):
            values = tf.reshape(values, (images, net.num_tokens - net.prefix, width))
            if net.prefix:
                values = tf.pad(values, ((0, 0), (net.prefix, 0), (0, 0)))
            values = tf.reshape(values + self.variable("start", net.start), (-1, width))
        if net.patch_norm:
            values = self.norm(values, "patch_norm", net.patch_norm)
        if net.centre:
            values = values - tf.reduce_mean(values, -1, keepdims=True)
        if net.shrink is not None:
            values = values * self.variable("shrink", net.shrink)
        return Tokens(values, images, net.num_tokens)

    def _block(self, tokens: Tokens, block: Block) -> Tokens:
        normed = self.norm(tokens.values, "norm1", block.norm1)
        with self.scope("attention"):
            tokens, branch = self._attention(tokens, normed, block)
        with self.scope("add1"):
            tokens = replace(tokens, values=tokens.values + branch)
        if block.merge:
            with self.scope("merge"):
                tokens = self._merge(tokens, normed, block)
        branch = self.perceptron(self.norm(tokens.values, "norm2", block.norm2), block.mlp)
        with self.scope("add2"):
            return replace(tokens, values=tokens.values + branch)

    def _attention(self, tokens: Tokens, normed: tf.Tensor, block: Block) -> tuple[Tokens, tf.Tensor]:
        """The tokens that go on, and what attention adds to them."""
        attention, kept = block.attention, tokens
        if block.keep is None:
            maps = (attention.query, attention.key, attention.value)
            query, key, value = tf.split(self.linear(normed, "qkv", *maps), 3, axis=-1)
        else:
            kept = Tokens(tokens.first(block.keep), tokens.images, block.keep)
            query = self.linear(tokens.first(block.keep, normed), "query", attention.query)
            key, value = tf.split(self.linear(normed, "key_value", attention.key, attention.value), 2, axis=-1)
        mixed = attend(self, query, key, value, attention, tokens, kept.count)
        return kept, self.linear(mixed, "projection", attention.projection)

    def _merge(self, tokens: Tokens, normed: tf.Tensor, block: Block) -> Tokens:
        """As `keras_vit.layers.EncoderBlock` does between its branches."""
        values = tokens.unfolded()
        if block.attention.rotary is not None or block.attention.bias is not None:
            origins = tf.eye(tokens.count)[None] if tokens.origins is None else tokens.origins
            origins = tf.broadcast_to(origins, (*tf.unstack(tf.shape(values))[:2], origins.shape[-1]))
            values = tf.concat([values, origins], axis=-1)
        metric = tokens.unfolded(self.linear(normed, "metric", block.metric))
        merged, sizes = merge_tokens(values, metric, tokens.sizes, count=block.merge, prefix=self.network.prefix)
        origins = merged[..., tokens.width :] if merged.shape[-1] > tokens.width else None
        values = tf.reshape(merged[..., : tokens.width], (-1, tokens.width))
        return Tokens(values, tokens.images, tokens.count - block.merge, sizes, origins)

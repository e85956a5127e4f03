"""From tokens to logits."""

from __future__ import annotations

import tensorflow as tf

from keras_vit.export.graph.attention import attend
from keras_vit.export.graph.network import Classifier, MapPooling
from keras_vit.export.graph.tokens import Tokens
from keras_vit.export.graph.writer import Writer


def classify(writer: Writer, tokens: Tokens, head: Classifier, prefix: int) -> tf.Tensor:
    """Logits.

    Args:
        writer: writes.
        tokens: of the last block.
        head: the classifier.
        prefix: tokens before the patches.

    Returns:
        (B, C).
    """
    if head.pooling == "token":
        features = writer.norm(tokens.first(head.tokens), "norm", head.norm)
        features = tf.reshape(features, (-1, head.tokens * tokens.width))
        return writer.linear(features, "linear", head.linear)
    values = tokens.values if head.norm_after else writer.norm(tokens.values, "norm", head.norm)
    with writer.scope("pool"):
        features = _map(writer, values, tokens, head.map) if head.map else _mean(values, tokens, prefix)
    if head.norm_after:
        features = writer.norm(features, "norm", head.norm)
    return writer.linear(features, "linear", head.linear)


def _mean(values: tf.Tensor, tokens: Tokens, prefix: int) -> tf.Tensor:
    """The mean of the patches; tokens that stand for several count so many times."""
    patches = tokens.unfolded(values)[:, prefix:]
    if tokens.sizes is None:
        return tf.reduce_mean(patches, axis=1)
    counts = tokens.sizes[:, prefix:]
    return tf.reduce_sum(patches * (counts / tf.reduce_sum(counts, axis=1, keepdims=True)), axis=1)


def _map(writer: Writer, values: tf.Tensor, tokens: Tokens, pooling: MapPooling) -> tf.Tensor:
    attention = pooling.attention
    key, value = tf.split(writer.linear(values, "key_value", attention.key, attention.value), 2, axis=-1)
    pooled = attend(writer, writer.variable("query", pooling.query), key, value, attention, tokens, 1)
    pooled = writer.linear(pooled, "projection", attention.projection)
    return pooled + writer.perceptron(writer.norm(pooled, "norm", pooling.norm), pooling.mlp)

"""Attention in two writings: batched products for floating point, plain products for integers."""

from __future__ import annotations

import tensorflow as tf

from keras_vit.export.graph.network import Attention
from keras_vit.layers.rotary import rotate


def batched_attention(query, key, value, attention: Attention, *, images: int, queries: int, count: int, bias):
    """All heads in two batched products (BATCH_MATMUL).

    Args:
        query: (B * queries, D); (queries, D) where it is the same for every image.
        key: (B * count, D).
        value: (B * count, D).
        attention: number of heads, scale, rotary tables.
        images: B, or -1.
        queries: tokens of an image that ask.
        count: tokens of an image that are asked.
        bias: (1, heads, queries, count), added to the scores, or None.

    Returns:
        (B * queries, D), the heads side by side.
    """
    heads = attention.num_heads
    dim = query.shape[-1] // heads
    query = _scaled(query, attention)

    def split(x, tokens):
        # A query that no image has changed stands for every one of them: products broadcast.
        return tf.reshape(x, (1 if x.shape[0] == tokens and images != 1 else images, tokens, heads, dim))

    query, key, value = split(query, queries), split(key, count), split(value, count)
    if attention.rotary is not None:
        query, key = _rotated(query, key, attention, queries)
    query, value = (tf.transpose(x, (0, 2, 1, 3)) for x in (query, value))
    scores = tf.matmul(query, tf.transpose(key, (0, 2, 3, 1)))
    scores = scores if bias is None else scores + bias
    mixed = tf.matmul(tf.nn.softmax(scores), value)
    return tf.reshape(tf.transpose(mixed, (0, 2, 1, 3)), (-1, heads * dim))


def flat_attention(query, key, value, attention: Attention, *, images: int, queries: int, count: int, bias):
    """Two plain products a head, each with its second factor transposed: FULLY_CONNECTED with computed weights.

    For one image; arguments and result are those of `batched_attention`.
    """
    heads = attention.num_heads
    width = query.shape[-1]
    query = _scaled(query, attention)
    if attention.rotary is not None:
        split = [tf.reshape(x, (1, -1, heads, width // heads)) for x in (query, key)]
        query, key = (tf.reshape(x, (-1, width)) for x in _rotated(*split, attention, queries))
    query, key = (tf.split(x, heads, axis=-1) for x in (query, key))
    value = tf.split(tf.transpose(value), heads, axis=0)
    biases = [None] * heads if bias is None else [bias[0, head] for head in range(heads)]
    mixed = []
    for q, k, v, b in zip(query, key, value, biases, strict=True):
        scores = tf.matmul(q, k, transpose_b=True)
        scores = scores if b is None else scores + b
        mixed.append(tf.matmul(tf.nn.softmax(scores), v, transpose_b=True))
    return tf.concat(mixed, axis=-1)


def _scaled(query, attention: Attention):
    return query if attention.scale == 1.0 else query * attention.scale


def _rotated(query, key, attention: Attention, queries: int):
    cosines, sines = attention.rotary
    return rotate(query, cosines[:, :queries], sines[:, :queries]), rotate(key, cosines, sines)

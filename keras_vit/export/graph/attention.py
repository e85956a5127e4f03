"""Attention in two writings: batched products for floating point, plain products for integers."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from keras_vit.export.graph.network import Attention
from keras_vit.export.graph.tokens import Tokens
from keras_vit.export.graph.windows import attend_in_windows
from keras_vit.export.graph.writer import Writer
from keras_vit.layers.attention import log_sizes


def attend(writer: Writer, query, key, value, attention: Attention, tokens: Tokens, queries: int) -> tf.Tensor:
    """What the first tokens see.

    Args:
        writer: keeps the tables.
        query: (B * queries, D); (queries, D) where it is the same for every image.
        key: (B * N, D).
        value: (B * N, D).
        attention: heads, scale and positions.
        tokens: those that are asked, N an image: their number, sizes and origins.
        queries: tokens of an image that ask.

    Returns:
        (B * queries, D), the heads side by side.
    """
    if attention.scale != 1.0:
        query = query * attention.scale
    write = _plain_products if writer.integer else _batched_products
    if attention.windows is not None:
        query, key = _turned_before(query, key, attention, tokens)
        return attend_in_windows(writer, write, query, key, value, attention, tokens)
    rotary, bias = _positions(writer, attention, tokens, queries)
    if tokens.sizes is not None:
        bias = log_sizes(tokens.sizes) if bias is None else bias + log_sizes(tokens.sizes)
    return write(query, key, value, attention.num_heads, rotary, bias, (tokens.images, queries, tokens.count))


def _turned_before(query, key, attention: Attention, tokens: Tokens):
    """Queries and keys (B * N, D), turned where their positions say so: windows take them apart afterwards."""
    if attention.rotary is None:
        return query, key
    width = query.shape[-1]
    heads = (tokens.images, tokens.count, attention.num_heads, width // attention.num_heads)
    turned = _rotated(*(tf.reshape(x, heads) for x in (query, key)), attention.rotary)
    return tuple(tf.reshape(x, (-1, width)) for x in turned)


def _positions(writer: Writer, attention: Attention, tokens: Tokens, queries: int):
    """Rotary tables ((B, N, 1, d) twice) and biases (B, heads, queries, N) of the tokens, None where there are none.

    A merged token stands at the mean of its patches' positions, as in `keras_vit.layers.SelfAttention`.
    """
    rotary, bias = attention.rotary, attention.bias
    if tokens.origins is None:
        return rotary, None if bias is None else writer.variable("bias", bias[:, :, :queries])
    if rotary is not None:
        rotary = [tf.expand_dims(_product(tokens.origins, table[0, :, 0]), 2) for table in rotary]
    if bias is not None:
        shares = tf.expand_dims(tokens.origins, 1)
        bias = tf.matmul(tf.matmul(shares[:, :, :queries], writer.variable("bias", bias)), shares, transpose_b=True)
    return rotary, bias


def _product(shares: tf.Tensor, table) -> tf.Tensor:
    """(B, N, N0) shares of a table (N0, d) -> (B, N, d)."""
    count, width = shares.shape[1], table.shape[-1]
    return tf.reshape(tf.matmul(tf.reshape(shares, (-1, shares.shape[2])), table), (-1, count, width))


def _batched_products(query, key, value, heads: int, rotary, bias, sizes: tuple[int, int, int]) -> tf.Tensor:
    """All heads in two batched products (BATCH_MATMUL)."""
    images, queries, count = sizes
    dim = query.shape[-1] // heads
    # A query that is the same for every image has one row a token: products broadcast.
    askers = 1 if query.shape[0] == queries else images
    query = tf.reshape(query, (askers, queries, heads, dim))
    key, value = (tf.reshape(x, (images, count, heads, dim)) for x in (key, value))
    if rotary is not None:
        query, key = _rotated(query, key, rotary)
    query, value = (tf.transpose(x, (0, 2, 1, 3)) for x in (query, value))
    scores = tf.matmul(query, tf.transpose(key, (0, 2, 3, 1)))
    scores = scores if bias is None else scores + bias
    mixed = tf.matmul(tf.nn.softmax(scores), value)
    return tf.reshape(tf.transpose(mixed, (0, 2, 1, 3)), (-1, heads * dim))


def _plain_products(query, key, value, heads: int, rotary, bias, sizes: tuple[int, int, int]) -> tf.Tensor:
    """Two plain products a head, each with its second factor transposed: FULLY_CONNECTED with computed weights.

    For one image.
    """
    width = query.shape[-1]
    if rotary is not None:
        split = [tf.reshape(x, (1, -1, heads, width // heads)) for x in (query, key)]
        query, key = (tf.reshape(x, (-1, width)) for x in _rotated(*split, rotary))
    query, key = (tf.split(x, heads, axis=-1) for x in (query, key))
    value = tf.split(tf.transpose(value), heads, axis=0)
    mixed = []
    for head, (q, k, v) in enumerate(zip(query, key, value, strict=True)):
        scores = tf.matmul(q, k, transpose_b=True)
        if bias is not None:
            # What merging adds is the same for all heads.
            scores = scores + bias[0, head if bias.shape[1] > 1 else 0]
        mixed.append(tf.matmul(tf.nn.softmax(scores), v, transpose_b=True))
    return tf.concat(mixed, axis=-1)


def _rotated(query, key, rotary):
    cosines, sines = rotary
    queries = query.shape[1]
    return _turned(query, cosines[:, :queries], sines[:, :queries]), _turned(key, cosines, sines)


def _turned(heads, cosines, sines):
    """As `keras_vit.layers.rotary.rotate`, the sign in the table: negation has no integer kernel."""
    half = heads.shape[-1] // 2
    signs = np.repeat(np.float32([-1, 1]), half)
    first, second = tf.split(heads, 2, axis=-1)
    return heads * cosines + tf.concat([second, first], axis=-1) * (sines * signs)

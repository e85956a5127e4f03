"""Scaled dot-product attention by the formulation that is fastest where it runs, exact in all of them."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import ops

from keras_vit.layers import fused

LONG = 2000
"""Tokens from which queries are taken in blocks (measured: `tests/benchmarks/peer_steps.py forward`)."""

BLOCK = 256
"""Queries in a block: its scores stay in a processor's cache."""


def scaled_attention(queries, keys, values, *, bias=None, training: bool | None = None):
    """softmax(queries keys^T + bias) values, head by head (Vaswani et al., 2017).

    Sequences of over `LONG` tokens never have all of their scores in memory: queries are taken in blocks, and the
    gradient computes a block's scores again. In half precision on the JAX backend the device's own fused kernel
    (flash attention) comes first. With a bias the scores are whole, as the bias is.

    Args:
        queries: (B, M, heads, d), scaled.
        keys: (B, N, heads, d).
        values: (B, N, heads, d).
        bias: added to the scores, broadcast to (B, heads, M, N).
        training: whether a gradient will be asked for.

    Returns:
        (B, M, heads, d).
    """
    half_on_jax = keras.backend.backend() == "jax" and keras.backend.standardize_dtype(queries.dtype) != "float32"
    if bias is not None or half_on_jax:
        return ops.dot_product_attention(queries, keys, values, bias=bias, scale=1.0)
    if max(queries.shape[1], keys.shape[1]) > LONG and queries.shape[1] > BLOCK:
        return _in_blocks(queries, keys, values)
    if fused.trains_on_tensorflow(training):
        return fused.attention(queries, keys, values)
    return ops.dot_product_attention(queries, keys, values, scale=1.0)


def observed_attention(queries, keys, values, observe: Callable, *, bias=None):
    """The same, slowly, for whoever wants to see it: all scores are in memory, in float32.

    Args:
        queries: (B, M, heads, d), scaled.
        keys: (B, N, heads, d).
        values: (B, N, heads, d).
        observe: is given the shares (B, heads, M, N) float32, whose rows sum to one, and returns those to go on with.
        bias: added to the scores, broadcast to (B, heads, M, N).

    Returns:
        (B, M, heads, d).
    """
    queries, keys, values = (ops.transpose(each, (0, 2, 1, 3)) for each in (queries, keys, values))
    scores = ops.cast(ops.matmul(queries, ops.transpose(keys, (0, 1, 3, 2))), "float32")
    shares = observe(ops.softmax(scores if bias is None else scores + ops.cast(bias, "float32"), axis=-1))
    return ops.transpose(ops.matmul(ops.cast(shares, values.dtype), values), (0, 2, 1, 3))


def _in_blocks(queries, keys, values):
    queries, keys, values = (ops.transpose(each, (0, 2, 1, 3)) for each in (queries, keys, values))
    mix = keras.remat(_mix)
    starts = range(0, queries.shape[2], BLOCK)
    mixed = [mix(queries[:, :, start : start + BLOCK], keys, values) for start in starts]
    return ops.transpose(ops.concatenate(mixed, axis=2), (0, 2, 1, 3))


def _mix(queries, keys, values):
    """(B, heads, m, d), (B, heads, N, d) twice -> (B, heads, m, d)."""
    scores = ops.matmul(queries, ops.transpose(keys, (0, 1, 3, 2)))
    shares = ops.softmax(ops.cast(scores, "float32"), axis=-1)
    return ops.matmul(ops.cast(shares, values.dtype), values)

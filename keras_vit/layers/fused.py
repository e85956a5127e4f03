"""What a training step on TensorFlow spends besides matrix products, in as few passes over memory as it can.

Outside XLA each of TensorFlow's operators reads and writes its whole tensor: a GELU and its gradient are a dozen
passes. Inside XLA they are two, but its matrix products on a processor are slower than oneDNN's, above all those of
weight gradients. So the step stays a graph, in which the functions here are islands that XLA compiles, with their
gradients written by hand. They are exact: the same functions, summed in float32.

This is the one file of the layers that speaks to a backend: others compile the whole step, where nothing is to be won.
Exported graphs and inference do not come here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import keras


def trains_on_tensorflow(training: bool | None) -> bool:
    """Whether the functions of this file apply: in a training step on TensorFlow, unless XLA compiles the whole of it.

    XLA fuses plain operators itself. What is here would only stand in its way: a Ti/16's step is a half slower, and
    takes minutes to compile where blocks are functions.
    """
    if not training or keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext  # TensorFlow says it nowhere else

    return not GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def gelu(hidden):
    """The exact GELU; its gradient computes erf and exp once more instead of keeping them.

    Args:
        hidden: of any shape and float dtype.
    """
    return _once(_make_gelu)(hidden)


def layer_normalization(inputs, gamma, beta, epsilon: float, dtype: str):
    """Layer normalisation of the last axis.

    Args:
        inputs: (..., D).
        gamma: (D,) float32, a variable or a tensor.
        beta: likewise.
        epsilon: added to the variance.
        dtype: of the result.
    """
    return _once(_make_layer_normalization)(inputs, gamma, beta, epsilon, dtype)


def dense(inputs, kernel, bias):
    """inputs kernel + bias; the bias's gradient is a matrix product, twice as fast as TensorFlow's `BiasAddGrad`.

    Args:
        inputs: (..., K).
        kernel: (K, M).
        bias: (M,).
    """
    return _once(_make_dense)(inputs, kernel, bias)


def attention(queries, keys, values):
    """softmax(queries keys^T) values of heads that lie beside each other.

    The gradient of the softmax is one pass over the scores, by the identity rowsum(dP * P) = rowsum(dO * O)
    (Dao et al., "FlashAttention", 2022).

    Args:
        queries: (B, M, heads, d), scaled.
        keys: (B, N, heads, d).
        values: (B, N, heads, d).

    Returns:
        (B, M, heads, d).
    """
    return _once(_make_attention)(queries, keys, values)


_MADE: dict[Callable, Callable] = {}


def _once(make: Callable) -> Callable:
    """What `make` returns, made when it is first needed: TensorFlow is not imported before."""
    if make not in _MADE:
        _MADE[make] = make()
    return _MADE[make]


def _make_gelu() -> Callable:
    import tensorflow as tf

    def normal(x):
        return 0.5 * (1.0 + tf.math.erf(x * math.sqrt(0.5)))

    @tf.function(jit_compile=True, autograph=False)
    def forward(hidden):
        x = tf.cast(hidden, tf.float32)
        return tf.cast(x * normal(x), hidden.dtype)

    @tf.function(jit_compile=True, autograph=False)
    def backward(hidden, upstream):
        x = tf.cast(hidden, tf.float32)
        slope = normal(x) + x * tf.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
        return tf.cast(tf.cast(upstream, tf.float32) * slope, hidden.dtype)

    @tf.custom_gradient
    def function(hidden):
        return forward(hidden), lambda upstream: backward(hidden, upstream)

    return function


def _make_layer_normalization() -> Callable:
    import tensorflow as tf

    # XLA's sums along rows are slow on processors, its products with a vector are not. A GPU would round their factors.
    on_processor = not tf.config.list_physical_devices("GPU")

    def mean(rows):
        if not on_processor:
            return tf.reduce_mean(rows, -1, keepdims=True)
        width = rows.shape[-1]
        return tf.matmul(rows, tf.fill((width, 1), 1.0 / width))

    def as_rows(tensor):
        return tf.reshape(tf.cast(tensor, tf.float32), (-1, tensor.shape[-1]))

    def normalized(inputs, epsilon):
        rows = as_rows(inputs)
        centred = rows - mean(rows)
        scale = tf.math.rsqrt(mean(tf.square(centred)) + epsilon)
        return centred * scale, scale

    @tf.function(jit_compile=True, autograph=False)
    def forward(inputs, gamma, beta, epsilon, dtype):
        return tf.cast(tf.reshape(normalized(inputs, epsilon)[0] * gamma + beta, tf.shape(inputs)), dtype)

    @tf.function(jit_compile=True, autograph=False)
    def backward(inputs, gamma, epsilon, upstream):
        x, scale = normalized(inputs, epsilon)
        upstream = as_rows(upstream)
        slope = upstream * gamma
        to_inputs = scale * (slope - mean(slope) - x * mean(slope * x))
        to_gamma, to_beta = tf.reduce_sum(upstream * x, 0), tf.reduce_sum(upstream, 0)
        return tf.cast(tf.reshape(to_inputs, tf.shape(inputs)), inputs.dtype), to_gamma, to_beta

    def function(inputs, gamma, beta, epsilon, dtype):
        @tf.custom_gradient
        def of(inputs, gamma, beta):
            outputs = forward(inputs, gamma, beta, epsilon, dtype)
            return outputs, lambda upstream: backward(inputs, gamma, epsilon, upstream)

        # Read here: a variable that the function itself read would be one of its hidden inputs.
        return of(inputs, tf.convert_to_tensor(gamma), tf.convert_to_tensor(beta))

    return function


def _make_dense() -> Callable:
    import tensorflow as tf

    def as_rows(tensor):
        return tf.reshape(tensor, (-1, tensor.shape[-1]))

    @tf.custom_gradient
    def of(inputs, kernel, bias):
        rows = as_rows(inputs)
        outputs = tf.nn.bias_add(tf.matmul(rows, kernel), bias)

        def gradient(upstream):
            slope = as_rows(upstream)
            to_inputs = tf.reshape(tf.matmul(slope, kernel, transpose_b=True), tf.shape(inputs))
            to_bias = tf.matmul(tf.ones((1, tf.shape(slope)[0]), slope.dtype), slope)[0]
            return to_inputs, tf.matmul(rows, slope, transpose_a=True), to_bias

        return tf.reshape(outputs, (-1, *inputs.shape[1:-1], kernel.shape[1])), gradient

    return lambda inputs, kernel, bias: of(inputs, tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias))


def _make_attention() -> Callable:
    import tensorflow as tf

    @tf.function(jit_compile=True, autograph=False)
    def softmax_gradient(shares, to_shares, mixed, upstream):
        own = tf.reduce_sum(tf.cast(mixed, tf.float32) * tf.cast(upstream, tf.float32), -1, keepdims=True)
        to_scores = tf.cast(shares, tf.float32) * (tf.cast(to_shares, tf.float32) - own)
        return tf.cast(to_scores, shares.dtype)

    def swapped(heads):
        return tf.transpose(heads, (0, 2, 1, 3))

    @tf.custom_gradient
    def function(queries, keys, values):
        queries, keys, values = swapped(queries), swapped(keys), swapped(values)
        scores = tf.matmul(queries, keys, transpose_b=True)
        shares = tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32)), values.dtype)
        mixed = tf.matmul(shares, values)

        def gradient(upstream):
            upstream = swapped(upstream)
            to_values = tf.matmul(shares, upstream, transpose_a=True)
            to_shares = tf.matmul(upstream, values, transpose_b=True)
            to_scores = softmax_gradient(shares, to_shares, mixed, upstream)
            to_queries, to_keys = tf.matmul(to_scores, keys), tf.matmul(to_scores, queries, transpose_a=True)
            return swapped(to_queries), swapped(to_keys), swapped(to_values)

        return swapped(mixed), gradient

    return function

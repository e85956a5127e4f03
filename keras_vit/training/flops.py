"""How much arithmetic a model takes, and how fast the machine is at it."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator

import keras
import tensorflow as tf

_LONGEST_S = 0.005  # the peak is reached before a product takes so long
_SIDES = (256, 512, 1024, 2048, 4096, 8192)
_TURNS = 5


def forward_graph(model: keras.Model) -> tf.Graph:
    """The graph of a model's answer to one image.

    Args:
        model: a functional model of images (B, H, W, channels) with a given H and W, on TensorFlow.
    """
    forward = tf.function(lambda images: model(images, training=False))
    image = tf.TensorSpec((1, *model.inputs[0].shape[1:]), tf.float32)
    return forward.get_concrete_function(image).graph


def multiply_adds(graph: tf.Graph) -> int:
    """Multiply-adds of all products of matrices and convolutions in a graph, as timm and fvcore count them; additions,
    norms and activations do not count.

    They are read off the graph, so that every head and layer is seen.

    Args:
        graph: of static shapes, such as a `forward_graph`.
    """
    return sum(cost for _, cost in _products(graph))


def training_multiply_adds(model: keras.Model, graph: tf.Graph) -> float:
    """Multiply-adds of a training step for one image.

    A layer's forward products count once more for the gradient by its weights, as far as they learn, and once more for
    that by its inputs, unless nothing that learns comes before. Where all learn these are three times the forward
    pass's (Chowdhery et al., 2022, PaLM, appendix B). What is computed again to save memory does not count.

    Args:
        model: made by `keras_vit.build`, with its final `trainable` flags.
        graph: its `forward_graph`.
    """
    factors, reached = {}, False
    for layer in model.layers:
        reached = reached or bool(layer.trainable_variables)
        matrices = [variable for variable in layer.weights if len(variable.shape) > 1]
        learning = [variable for variable in layer.trainable_variables if len(variable.shape) > 1]
        factors[layer.name] = 1 + reached + _size(learning) / max(1, _size(matrices))
    return sum(cost * factors[_layer_of(path, factors)] for path, cost in _products(graph))


def _size(variables) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def _layer_of(path: str, names: Collection[str]) -> str:
    """The model's layer in whose scope an operation lies; TensorFlow may have numbered the scope."""
    scope = path.split("/")[1]
    return scope if scope in names else scope.rpartition("_")[0]


def peak_of_all(strategy: tf.distribute.Strategy, dtype: str, processes: int = 1) -> float:
    """Floating-point operations a second of all devices that train a model.

    Args:
        strategy: of the devices. Several logical processors are one device.
        dtype: that the model computes in.
        processes: of the same kind, that train it together.
    """
    on_gpus = tf.config.list_physical_devices("GPU")
    return (strategy.num_replicas_in_sync if on_gpus else processes) * peak_rate(dtype)


def peak_rate(dtype: str) -> float:
    """Floating-point operations a second (two for each multiply-add) that one device reaches on square matrices.

    Measured rather than looked up, so that a share of it is a share of what this machine can do. It takes a tenth of a
    second, in which the machine should have nothing else to do.

    Args:
        dtype: of the matrices.
    """
    best = 0.0
    for side in _SIDES:
        matrix = tf.ones((side, side), dtype)
        fastest = min(_seconds(matrix) for _ in range(_TURNS))
        best = max(best, 2 * side**3 / fastest)
        if fastest > _LONGEST_S:
            break
    return best


def _seconds(matrix: tf.Tensor) -> float:
    begin = time.perf_counter()
    # A GPU works on after the call has returned: reading a number waits for it.
    float(tf.linalg.matmul(matrix, matrix)[0, 0])
    return time.perf_counter() - begin


def _products(graph: tf.Graph, path: str = "") -> Iterator[tuple[str, int]]:
    """The path and the multiply-adds of each product."""
    for operation in graph.get_operations():
        if operation.type in _COUNTED:
            yield path + operation.name, _COUNTED[operation.type](operation)
        elif operation.type in _CALLS:
            called = graph._get_function(operation.get_attr("f").name).graph
            yield from _products(called, f"{path}{operation.name}/")


def _product(operation) -> int:
    transposed = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
    return operation.outputs[0].shape.num_elements() * operation.inputs[0].shape[-2 if transposed else -1]


def _einsum(operation) -> int:
    terms, result = operation.get_attr("equation").decode().split("->")
    sizes = {}
    for term, tensor in zip(terms.split(","), operation.inputs, strict=True):
        sizes |= dict(zip(term, tensor.shape.as_list(), strict=True))
    summed = set(sizes) - set(result)
    return operation.outputs[0].shape.num_elements() * math.prod(sizes[letter] for letter in summed)


def _convolution(operation) -> int:
    rows, columns, channels, _ = operation.inputs[1].shape.as_list()
    return operation.outputs[0].shape.num_elements() * rows * columns * channels


def _depthwise(operation) -> int:
    rows, columns, *_ = operation.inputs[1].shape.as_list()
    return operation.outputs[0].shape.num_elements() * rows * columns


def _transposed_convolution(operation) -> int:
    rows, columns, channels, _ = operation.inputs[1].shape.as_list()
    return operation.inputs[2].shape.num_elements() * rows * columns * channels


_COUNTED = {
    "MatMul": _product,
    "BatchMatMulV2": _product,
    "Einsum": _einsum,
    "Conv2D": _convolution,
    "DepthwiseConv2dNative": _depthwise,
    "Conv2DBackpropInput": _transposed_convolution,
}
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")

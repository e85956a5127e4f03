"""Files with known contents are converted and looked into."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_vit import InputError
from keras_vit.export.inspect import inspect, obstacles
from keras_vit.export.tflite_graph import TFLiteGraph

OPS = tf.lite.OpsSet


def convert(function, shapes, path, *, quantized=None):
    """A TFLite file of a function of float32 tensors; `quantized` with the operator set of that name."""
    specs = [tf.TensorSpec(shape, tf.float32, name=f"x{i}") for i, shape in enumerate(shapes)]
    concrete = tf.function(function, input_signature=specs).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    converter.target_spec.supported_ops = [OPS.TFLITE_BUILTINS, OPS.SELECT_TF_OPS]
    if quantized:
        rng = np.random.default_rng(0)
        samples = [[rng.normal(size=shape).astype("float32") for shape in shapes] for _ in range(4)]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantized != "DYNAMIC":
            converter.representative_dataset = lambda: iter(samples)
            converter.target_spec.supported_ops = [getattr(OPS, quantized)]
    path.write_bytes(converter.convert())
    return path


def weights(*shape):
    return tf.constant(np.random.default_rng(1).normal(size=shape), tf.float32)


def dense(x):
    return tf.nn.softmax(x @ DENSE)


DENSE = weights(64, 64)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.tflite"


def test_a_float_file(path):
    found = inspect(convert(dense, [(3, 64)], path))
    assert found["operators"] == {"FULLY_CONNECTED": 1, "SOFTMAX": 1}
    assert found["compute"] == {"float": {"FULLY_CONNECTED": 1, "SOFTMAX": 1}}
    assert found["macs"] == 3 * 64 * 64
    assert (found["custom"], found["unknown_shapes"], found["many_dimensions"]) == ([], [], [])
    assert found["xnnpack"] == {"partitions": 1, "kernels": {}}


@pytest.mark.parametrize(
    ("quantized", "compute"),
    [
        ("DYNAMIC", {"float": {"SOFTMAX": 1}, "hybrid": {"FULLY_CONNECTED": 1}}),
        ("TFLITE_BUILTINS_INT8", {"int8": {"FULLY_CONNECTED": 1, "SOFTMAX": 1}}),
        (
            "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8",
            {"int16": {"FULLY_CONNECTED": 1, "SOFTMAX": 1}},
        ),
    ],
)
def test_operators_are_told_by_what_they_compute_in(quantized, compute, path):
    found = inspect(convert(dense, [(1, 64)], path, quantized=quantized))["compute"]
    # A float interface, which the converter gives every file, needs conversions at its ends.
    assert set(found.pop("conversion", {})) <= {"QUANTIZE", "DEQUANTIZE"}
    assert found == compute


def test_what_the_converter_leaves_in_float_is_named(path):
    found = inspect(convert(lambda x: -(x @ DENSE), [(1, 64)], path, quantized="TFLITE_BUILTINS_INT8"))
    assert found["compute"]["float"] == {"NEG": 1}
    assert found["compute"]["int8"] == {"FULLY_CONNECTED": 1}


@pytest.mark.parametrize(
    ("function", "shapes", "macs"),
    [
        (lambda x: tf.nn.conv2d(x, weights(3, 5, 4, 7), 2, "VALID"), [(2, 9, 11, 4)], 2 * 4 * 4 * 7 * (3 * 5 * 4)),
        (lambda x: tf.nn.depthwise_conv2d(x, weights(3, 3, 4, 1), [1] * 4, "SAME"), [(1, 6, 6, 4)], 36 * 4 * 9),
        (
            lambda x: tf.nn.conv2d_transpose(x, weights(2, 2, 5, 4), (1, 12, 12, 5), 2),
            [(1, 6, 6, 4)],
            36 * 4 * (2 * 2 * 5),
        ),
        (lambda x, y: x @ y, [(2, 3, 5, 8), (2, 3, 8, 7)], 6 * 5 * 8 * 7),
        (lambda x, y: tf.matmul(x, y, transpose_a=True), [(2, 8, 5), (2, 8, 7)], 2 * 5 * 8 * 7),
        (lambda x, y: tf.matmul(x, y, transpose_b=True), [(2, 5, 8), (2, 7, 8)], 2 * 5 * 8 * 7),
        (lambda x: x + 1, [(1, 8)], 0),
    ],
)
def test_multiplications_are_counted(function, shapes, macs, path):
    assert inspect(convert(function, shapes, path))["macs"] == macs


def test_partitions_and_kernels_are_those_of_the_interpreter(path):
    found = inspect(convert(lambda x: tf.cumsum(tf.nn.relu(x) @ DENSE, axis=1) @ DENSE, [(1, 64)], path))
    assert found["operators"] == {"FULLY_CONNECTED": 2, "CUMSUM": 1, "RELU": 1}
    assert found["xnnpack"] == {"partitions": 2, "kernels": {"CUMSUM": 1}}


def test_five_dimensions_are_named(path):
    found = inspect(convert(lambda x: tf.transpose(x, (0, 4, 1, 2, 3)), [(1, 2, 3, 4, 5)], path))
    assert len(found["many_dimensions"]) == 2


@pytest.mark.parametrize(
    ("function", "shape", "found"),
    [
        (tf.nn.relu, (1, 4), []),
        (tf.linalg.inv, (4, 4), ["the custom operator FlexMatrixInverse"]),
        (tf.nn.relu, (None, 4), ["an unknown dimension in its tensor x0"]),
    ],
)
def test_obstacles(function, shape, found, path):
    names = obstacles(convert(function, [shape], path))
    assert names[: len(found)] == found
    assert bool(names) == bool(found)


def test_constants_and_activations_are_told_apart(path):
    (operator,) = TFLiteGraph(convert(lambda x: x @ DENSE, [(1, 64)], path)).operators
    assert [tensor.constant for tensor in operator.inputs] == [False, True, *[True] * (len(operator.inputs) - 2)]
    assert not operator.outputs[0].constant


def test_onnx(tmp_path):
    onnx = pytest.importorskip("onnx")
    info = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4])
    nodes = [
        onnx.helper.make_node("Relu", ["x"], ["a"]),
        onnx.helper.make_node("Relu", ["a"], ["b"]),
        onnx.helper.make_node("Gelu", ["b"], ["y"], domain="com.microsoft"),
    ]
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [info], [output])), tmp_path / "m.onnx")
    found = inspect(tmp_path / "m.onnx")
    assert found == {"operators": {"Relu": 2, "Gelu": 1}, "custom": ["com.microsoft.Gelu"]}
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match=r"m.onnx cannot be read as an ONNX file"):
        inspect(tmp_path / "m.onnx")


def test_other_formats_have_no_list_of_operators(tmp_path):
    assert inspect(tmp_path) == {}


def test_what_is_no_tflite_file_is_refused(path):
    with pytest.raises(InputError, match="cannot be read"):
        inspect(path)
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match="is not a TFLite file"):
        inspect(path)

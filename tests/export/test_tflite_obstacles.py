"""Files that would not run on a bare runtime are recognised by reading them."""

from __future__ import annotations

import pytest
import tensorflow as tf

from keras_vit.export.tflite import obstacles


def convert(function, shape, path):
    signature = tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32, name="x")])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([signature.get_concrete_function()])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    path.write_bytes(converter.convert())
    return path


@pytest.mark.parametrize(
    ("function", "shape", "found"),
    [
        (tf.nn.relu, (1, 4), []),
        (tf.linalg.inv, (4, 4), ["the custom operator FlexMatrixInverse"]),
        (tf.nn.relu, (None, 4), ["an unknown dimension in its tensor x"]),
    ],
)
def test_obstacles(function, shape, found, tmp_path):
    names = obstacles(convert(function, shape, tmp_path / "model.tflite"))
    assert names[: len(found)] == found
    assert bool(names) == bool(found)

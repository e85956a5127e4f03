"""Quantising what decoders are made of: convolutions, pooling, resizing, and coordinates beside probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.export.quantize import DYNAMIC, INTEGER, WEIGHT_ONLY, collect, quantize
from keras_vit.export.running import outputs_of
from keras_vit.export.tflite import write_tflite
from keras_vit.export.tflite_graph import TFLiteGraph

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 12, 16, 3), "uint8")


class Decoder(tf.Module):
    """A convolution, a depthwise one, pooling, resizing; boxes and logits side by side, taken apart again."""

    input_shape = (1, 12, 16, 3)

    def __init__(self):
        super().__init__(name="decoder")
        rng = np.random.default_rng(1)
        self.kernel = tf.Variable(rng.normal(0, 0.002, (3, 3, 3, 16)).astype("float32"))
        self.depthwise = tf.Variable(rng.normal(0, 0.3, (3, 3, 16, 1)).astype("float32"))
        self.boxes = tf.Variable(rng.normal(0, 1, (16, 4)).astype("float32"))
        self.logits = tf.Variable(rng.normal(0, 0.5, (16, 2)).astype("float32"))

    def __call__(self, image):
        maps = tf.nn.relu(tf.nn.conv2d(image, self.kernel, 1, "SAME"))
        maps = tf.nn.depthwise_conv2d(maps, self.depthwise, (1, 1, 1, 1), "SAME")
        maps = tf.image.resize(tf.nn.max_pool2d(maps, 2, 2, "SAME"), (12, 16))
        places = tf.reshape(maps, (-1, 12 * 16, 16))
        both = tf.concat([100 + 60 * tf.matmul(places, self.boxes), tf.matmul(places, self.logits)], -1)
        return {"boxes": both[..., :4], "scores": tf.sigmoid(both[..., 4:])}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The float file, what it gives, and the statistics of its activations."""
    folder = tmp_path_factory.mktemp("decoder")
    write_tflite(Decoder(), folder / "float.tflite")
    np.save(folder / "images.npy", IMAGES)
    return (
        folder,
        outputs_of(folder / "float.tflite", folder / "images.npy", 1),
        collect(folder / "float.tflite", folder / "images.npy"),
    )


@pytest.mark.parametrize(
    ("policy", "boxes", "scores"),
    [(WEIGHT_ONLY, 0.01, 0.01), (DYNAMIC, 0.02, 0.02), (INTEGER, 0.03, 0.03)],
    ids=["weights", "dynamic", "integer"],
)
def test_decoders_are_quantised(policy, boxes, scores, source, tmp_path):
    folder, expected, statistics = source
    path = tmp_path / "quantised.tflite"
    quantize(folder / "float.tflite", path, policy, statistics)
    found = outputs_of(path, folder / "images.npy", 1)
    reach = np.ptp(expected[..., :4])
    assert reach > 200
    assert np.abs(found - expected)[..., :4].max() < boxes * reach
    assert np.abs(found - expected)[..., 4:].max() < scores
    kinds = {operator.name: operator.kind for operator in TFLiteGraph(path).operators}
    wanted = {"weights": "float", "dynamic": "hybrid", "int8": "int8"}[policy.rules[0].precision]
    assert kinds["CONV_2D"] == kinds["DEPTHWISE_CONV_2D"] == wanted
    assert "CONCATENATION" not in kinds
    if policy is INTEGER:
        assert {kinds["MAX_POOL_2D"], kinds["RESIZE_BILINEAR"]} == {"int8"}
        assert "float" not in kinds.values()
        # Coordinates are kept in 16 bits to their end.
        assert ("FULLY_CONNECTED", "int16") in {(o.name, o.kind) for o in TFLiteGraph(path).operators}

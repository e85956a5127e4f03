"""The export graph computes what the model computes."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_vit
from keras_vit.export import export_graph, float32_copy
from keras_vit.layers import PixelNormalization

KINDS = {
    "float32": {},
    "mixed_float16": {"dtype": "mixed_float16"},
    "mixed_bfloat16": {"dtype": "mixed_bfloat16"},
    "grey": {"in_channels": 1},
    "not_normalized": {"normalize": False},
    "imagenet_record": {"preprocessing": "imagenet"},
    "regularized_avg": {"dropout": 0.1, "drop_path": 0.2, "depth": 2, "pooling": "avg", "class_token": False},
    "map": {"pooling": "map"},
}


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_source_in_float32(kind, randomize):
    settings = {"num_classes": 5, "image_size": (32, 48), "seed": 0} | KINDS[kind]
    source = keras_vit.build("vit_mu16", **settings)
    randomize(source)
    # Not the package's own copy: built anew in float32, with the same weights.
    reference = keras_vit.build("vit_mu16", **(settings | {"dtype": "float32"}))
    reference.set_weights(source.get_weights())

    graph = export_graph(source)
    shape = (8, 32, 48, settings.get("in_channels", 3))
    pixels = np.random.default_rng(1).integers(0, 256, shape).astype("float32")
    images = pixels if settings.get("normalize", True) else pixels / 128 - 1
    expected = softmax(np.asarray(reference(images)))
    assert expected.std() > 0.02
    np.testing.assert_allclose(graph(images), expected, atol=1e-5)
    np.testing.assert_allclose(softmax(np.asarray(float32_copy(source)(images))), expected, atol=1e-6)
    assert {layer.compute_dtype for layer in graph.layers} == {"float32"}
    assert not any(isinstance(layer, PixelNormalization) for layer in graph.layers)
    assert graph.input_shape == (None, *shape[1:])
    assert graph.count_params() == source.count_params()


def test_leaves_the_source_alone():
    source = keras_vit.build("vit_mu16", num_classes=3, image_size=32, seed=0, dtype="mixed_float16")
    before = source.get_weights()
    export_graph(source)
    assert all(np.array_equal(a, b) for a, b in zip(before, source.get_weights(), strict=True))
    assert source.get_layer("block_0").compute_dtype == "float16"


def test_saves_and_reloads_in_safe_mode(tmp_path):
    graph = export_graph(keras_vit.build("vit_mu16", num_classes=3, image_size=32, seed=0))
    graph.save(tmp_path / "graph.keras")
    images = np.full((2, 32, 32, 3), 77.0, "float32")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "graph.keras")(images), graph(images))

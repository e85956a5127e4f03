"""The export graph of dense models computes what the models compute, whatever the head."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from dense_helpers import DENSE_HEADS, IMAGE_SIZE, dense_model
from keras import ops

import keras_vit
from keras_vit import InputError
from keras_vit.export import export_graph
from keras_vit.export.graph import ExportGraph, optimise, read
from keras_vit.export.graph.equalise import equalise, observe
from keras_vit.export.graph.network import NORMALISED
from keras_vit.export.graph.reduction import reduce_tokens
from keras_vit.heads import HEADS, Heads

IMAGES = np.random.default_rng(1).integers(0, 256, (2, *IMAGE_SIZE, 3)).astype("float32")


@pytest.mark.parametrize(("task", "head"), DENSE_HEADS)
def test_equals_the_source(task, head, randomize):
    model = dense_model(task, head, randomize)
    expected = np.asarray(model(IMAGES))
    tolerance = 1e-5 * max(expected.std(), 1)
    network = optimise(read(model))
    assert network.fill == (12, 4)
    even = equalise(network, observe(network, IMAGES))
    for described in (read(model), network, even):
        np.testing.assert_allclose(ExportGraph(described, softmax=False)(IMAGES), expected, atol=tolerance)
    integer = ExportGraph(even, batch=1, integer=True, softmax=False)
    np.testing.assert_allclose(np.concatenate([integer(image[None]) for image in IMAGES]), expected, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("dinov2_mu14", {"dtype": "mixed_bfloat16", "preprocessing": "imagenet"}),
        ("eva02_mu16", {"in_channels": 1, "normalize": False}),
    ],
)
def test_other_trunks_under_a_head_that_reads_several_blocks(name, settings, randomize):
    model = dense_model("segmentation", "dpt", randomize, name, **settings)
    reference = dense_model("segmentation", "dpt", randomize, name, **(settings | {"dtype": "float32"}))
    images = IMAGES[..., : settings.get("in_channels", 3)]
    expected = np.asarray(reference(images))
    graph = export_graph(model, softmax=False)
    assert graph.network.head.reads == (0, 1, NORMALISED)
    np.testing.assert_allclose(graph(images), expected, atol=1e-5 * max(expected.std(), 1))


def test_what_a_head_reads_is_not_rewritten(randomize):
    several = optimise(read(dense_model("segmentation", "upernet", randomize)))
    one = optimise(read(dense_model("segmentation", "fpn", randomize)))
    assert not several.blocks[0].norm1.zero_mean
    assert one.blocks[0].norm1.zero_mean
    for network in (one, several):
        assert network.blocks[-1].keep is None
        assert network.head.norm.scale is not None
        assert reduce_tokens(network, (1, 1)) is network


def test_the_source_is_left_alone(randomize):
    model = dense_model("detection", "anchor_free", randomize)
    before = np.asarray(model(IMAGES))
    norm = model.get_layer("head").pyramid.levels[0].lateral.norm
    export_graph(model)(IMAGES)
    assert "call" not in vars(norm)
    np.testing.assert_array_equal(model(IMAGES), before)


@keras.saving.register_keras_serializable(package="test")
class TwoMaps(keras.layers.Layer):
    """A head from elsewhere: it reads a block and the normalised tokens, and knows nothing of exports."""

    def call(self, block, tokens):
        return ops.mean(block[:, 1:], axis=-1, keepdims=True) + tokens[:, 1:, :3]


def test_a_head_of_somebody_else_is_exported_too(randomize, monkeypatch):
    def two_maps(given):
        middle = TwoMaps(name="middle")(given.encoded.blocks[0], given.encoded.tokens)
        return keras.layers.Dense(3, name="head")(keras.layers.Activation("relu", name="between")(middle))

    monkeypatch.setitem(HEADS, "height", Heads({"maps": two_maps}, dense=True))
    model = dense_model("height", "maps", randomize)
    graph = export_graph(model, softmax=False)
    assert graph.network.head.reads == (0, NORMALISED)
    np.testing.assert_allclose(graph(IMAGES), model(IMAGES), atol=1e-5)


def test_a_head_that_reads_the_image_is_refused(randomize):
    model = dense_model("segmentation", "linear", randomize)
    scaled = keras.layers.Rescaling(0.01, name="scaled")(model.input)
    odd = keras.Model(model.input, keras.layers.Add(name="both")([model.output, scaled]), name="odd")
    with pytest.raises(InputError, match="The layer 'scaled' of the model 'odd' reads something else than its blocks'"):
        export_graph(odd)


def test_outputs_have_the_names_that_the_task_gives(randomize):
    task = keras_vit.tasks.make_task("detection", ["a", "b", "c"])
    model = dense_model("detection", "anchor_free", randomize)
    found = export_graph(model, finish=task.shipped)(tf.constant(IMAGES))
    expected = np.asarray(model(IMAGES))
    assert sorted(found) == [part.name for part in task.parts] == ["boxes", "scores"]
    np.testing.assert_allclose(found["boxes"], expected[..., :4], atol=1e-3)
    np.testing.assert_allclose(found["scores"], 1 / (1 + np.exp(-expected[..., 4:])), atol=1e-5)

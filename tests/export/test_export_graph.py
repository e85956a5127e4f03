"""The export graph computes what the model computes."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vit
from keras_vit import InputError
from keras_vit.export import export_graph, float32_copy
from keras_vit.export.graph import ExportGraph, Network, optimise, read
from keras_vit.export.graph.equalise import equalise, observe
from keras_vit.export.graph.rewrites import centre_stream, fold_affine, fold_score_scale, prune_last_block

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
    np.testing.assert_allclose(graph(tf.constant(images)), expected, atol=1e-5)
    np.testing.assert_allclose(softmax(np.asarray(float32_copy(source)(images))), expected, atol=1e-6)
    assert graph.input_shape == (None, *shape[1:])


def test_leaves_the_source_alone():
    source = keras_vit.build("vit_mu16", num_classes=3, image_size=32, seed=0, dtype="mixed_float16")
    before = source.get_weights()
    export_graph(source)
    assert all(np.array_equal(a, b) for a, b in zip(before, source.get_weights(), strict=True))
    assert source.get_layer("block_0").compute_dtype == "float16"


@pytest.fixture(scope="module")
def networks(randomize) -> dict[str, Network]:
    """Families that between them have every part that a rewrite may meet, with random weights."""

    def network(name, **settings):
        model = keras_vit.build(name, num_classes=5, image_size=(32, 48), depth=2, seed=0, **settings)
        randomize(model)
        return read(model)

    names = ("vit_mu16", "deit_distilled_mu16", "deit3_mu16", "clip_mu16", "siglip_mu16", "beit_mu16", "eva02_mu16")
    networks = {name: network(name) for name in names} | {"avg": network("vit_mu16", pooling="avg")}
    merging = {"vit_mu16": {}, "eva02_mu16": {}, "beit_mu16": {}, "siglip_mu16": {}}
    return networks | {f"{name} merging": network(name, token_merging=1) for name in merging}


REWRITES = (fold_score_scale, fold_affine, centre_stream, prune_last_block)


@pytest.mark.parametrize("rewrite", [*REWRITES, optimise], ids=lambda rewrite: rewrite.__name__)
def test_every_rewrite_alone_changes_nothing(rewrite, networks):
    image = np.random.default_rng(1).integers(0, 256, (1, 32, 48, 3)).astype("float32")
    for name, network in networks.items():
        before, after = (ExportGraph(n, batch=1, softmax=False)(image).numpy() for n in (network, rewrite(network)))
        np.testing.assert_allclose(after, before, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_the_integer_writing_and_any_batch_give_the_same(batch, networks):
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 48, 3)).astype("float32")
    for name, network in networks.items():
        expected = np.concatenate([ExportGraph(network, batch=1, integer=True)(image[None]) for image in images])
        step = batch or 3
        graph = ExportGraph(network, batch=batch)
        found = np.concatenate([graph(images[i : i + step]) for i in range(0, 3, step)])
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("integer", [False, True])
def test_equalising_changes_sizes_and_nothing_else(integer, networks):
    images = np.random.default_rng(1).integers(0, 256, (5, 32, 48, 3)).astype("float32")
    # The rest differs in what equalising leaves alone.
    for name in ("vit_mu16", "clip_mu16", "siglip_mu16", "eva02_mu16", "eva02_mu16 merging"):
        network = optimise(networks[name])
        found = equalise(network, observe(network, images, batch=2))
        before = ExportGraph(network, softmax=False)(images)
        graph = ExportGraph(found, batch=1, integer=integer, softmax=False)
        after = np.concatenate([graph(image[None]) for image in images])
        np.testing.assert_allclose(after, before, atol=2e-5, err_msg=name)


def test_equalising_evens_out_a_channel_that_is_a_thousand_times_larger(networks):
    images = np.random.default_rng(1).integers(0, 256, (4, 32, 48, 3)).astype("float32")
    network = optimise(networks["vit_mu16"])
    attention, large = network.blocks[0].attention, np.ones(32, "float32")
    large[[3, 20]] = 1000, 0.001
    attention = replace(
        attention,
        query=attention.query.before_scale(large),
        key=attention.key.before_scale(1 / large),
        value=attention.value.before_scale(large),
        projection=attention.projection.of_stretched(1 / large),
    )
    network = replace(network, blocks=(replace(network.blocks[0], attention=attention), *network.blocks[1:]))

    def uneven(network):
        sizes = observe(network, images)["block_0/attention/qkv"]
        return sizes.max() / np.median(sizes)

    assert uneven(network) > 500
    assert uneven(equalise(network, observe(network, images))) < 10


def test_the_optimised_network_has_nothing_left_to_fold(networks):
    network = optimise(networks["vit_mu16"])
    assert network.blocks[-1].keep == 1
    for block in network.blocks:
        assert (block.norm1.scale, block.norm2.shift, block.attention.scale) == (None, None, 1.0)
        assert abs(block.mlp.contract.kernel.mean(-1)).max() < 1e-7
    assert abs(network.start.mean(-1)).max() < 1e-7


def test_a_foreign_layer_is_named():
    model = keras_vit.build("vit_mu16", num_classes=3, image_size=32, seed=0)
    odd = keras.Model(model.input, keras.layers.Rescaling(2.0, name="twice")(model.output), name="odd")
    with pytest.raises(InputError, match=r"The layer 'twice' \(Rescaling\) of the model 'odd' is not one of"):
        export_graph(odd)

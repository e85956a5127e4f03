"""Windowed attention in export graphs: no filling, no mask, the same function."""

from __future__ import annotations

import numpy as np
import pytest
from dense_helpers import NAMES, dense_model

import keras_vit
from keras_vit.export import export_graph
from keras_vit.export.graph import ExportGraph, optimise, read
from keras_vit.export.graph.equalise import equalise, observe
from keras_vit.export.graph.reduction import reduce_tokens
from keras_vit.export.graph.windows import regions
from keras_vit.export.quantize import INTEGER, collect, quantize
from keras_vit.export.running import outputs_of
from keras_vit.export.tflite import write_tflite
from keras_vit.export.tflite_graph import TFLiteGraph
from keras_vit.layers.windows import Windows

SIZE = (80, 112)
"""A grid of 5 x 7 patches."""

IMAGES = np.random.default_rng(1).integers(0, 256, (8, *SIZE, 3)).astype("uint8")


def windowed(name, randomize, **settings):
    settings = {"num_classes": len(NAMES), "image_size": SIZE, "depth": 2, "global_blocks": (), "seed": 0} | settings
    model = keras_vit.build(name, **settings)
    randomize(model)
    return model


def test_regions_cover_the_grid_once():
    for grid, window in (((5, 7), (2, 3)), ((4, 6), (2, 3)), ((5, 6), (5, 4)), ((1, 9), (1, 2))):
        seen = np.zeros(grid, int)
        for row in regions(Windows(grid, window)):
            for region in row:
                assert not any(region.windows.filling)
                (height, width), (top, left) = region.windows.grid, (region.top, region.left)
                seen[top : top + height, left : left + width] += 1
        assert (seen == 1).all()


@pytest.mark.parametrize("window", [(2, 3), 5, (5, 1)], ids=str)
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vit_mu16", {}),
        ("dinov3_mu16", {}),
        ("beit_mu16", {}),
        ("siglip_mu16", {}),
        ("vit_mu16", {"class_token": False, "pooling": "avg"}),
    ],
    ids=["class token", "registers, rotary", "relative bias", "map pooling", "patches alone"],
)
def test_equals_the_source(name, settings, window, randomize):
    model = windowed(name, randomize, window=window, **settings)
    logits = np.asarray(model(IMAGES[:2]))
    expected = np.exp(logits - logits.max(-1, keepdims=True))
    expected /= expected.sum(-1, keepdims=True)
    pixels = IMAGES[:2].astype("float32")
    network = optimise(read(model))
    even = equalise(network, observe(network, pixels))
    for described in (read(model), network, even):
        np.testing.assert_allclose(ExportGraph(described)(pixels), expected, atol=1e-5)
        one = ExportGraph(described, batch=1, integer=True)
        np.testing.assert_allclose(np.concatenate([one(image[None]) for image in pixels]), expected, atol=1e-5)
    assert reduce_tokens(network, (1, 1)) is network


@pytest.mark.parametrize("integer", [False, True], ids=["float", "integer"])
def test_files_of_a_dense_model(integer, randomize, tmp_path):
    model = dense_model("segmentation", "fpn", randomize, image_size=SIZE, window=(2, 3), global_blocks=(1,))
    expected = np.asarray(model(IMAGES))
    np.save(tmp_path / "images.npy", IMAGES)
    path = tmp_path / "model.tflite"
    write_tflite(export_graph(model, batch=1, integer=integer, softmax=False), path)
    found = outputs_of(path, tmp_path / "images.npy", 1)
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.std())
    if integer:
        quantize(path, tmp_path / "int8.tflite", INTEGER, collect(path, tmp_path / "images.npy"))
        kinds = {operator.kind for operator in TFLiteGraph(tmp_path / "int8.tflite").operators}
        assert "float" not in kinds
        found = outputs_of(tmp_path / "int8.tflite", tmp_path / "images.npy", 1)
        assert np.abs(found - expected).mean() < 0.2 * expected.std()

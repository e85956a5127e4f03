"""Every family at a size that people ship: float32, dynamic and full integer files convert, run and agree."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_vit
from keras_vit.export.graph import ExportGraph, optimise, read
from keras_vit.export.graph.equalise import equalise, observe
from keras_vit.export.inspect import obstacles
from keras_vit.export.quantize import DYNAMIC, INTEGER, collect, quantize
from keras_vit.export.running import outputs_of
from keras_vit.export.tflite import write_tflite
from keras_vit.variants import FAMILIES

CLASSES = 10


def smallest(family: str) -> str:
    """The first architecture that a family lists."""
    size, patches = next(iter(FAMILIES[family].sizes.items()))
    return f"{family}_{size}{patches[-1]}"


def lively(name: str) -> keras.Model:
    """Untrained, but with scales, biases and tokens that matter; of huge networks the first blocks."""
    depth = 4 if name.split("_")[-1][0] in "hg" else None
    model = keras_vit.build(name, num_classes=CLASSES, depth=depth, seed=0)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name == "gamma":
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.name != "kernel":
            weight.assign(weight + rng.normal(0, 0.02, weight.shape))
    model.get_layer("head").kernel.assign(rng.normal(0, 0.1, model.get_layer("head").kernel.shape))
    return model


def images(count: int, size: tuple[int, int], seed: int) -> np.ndarray:
    """Soft blotches, each with a black and a white pixel."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (count, 7, 7, 3))
    smooth = np.asarray(keras.ops.image.resize(coarse, size, interpolation="bicubic"))
    pixels = smooth.clip(0, 255).astype("uint8")
    pixels[:, 0, 0], pixels[:, 0, 1] = 0, 255
    return pixels


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [smallest(family) for family in FAMILIES])
def test_the_smallest_of_a_family(name, tmp_path):
    model = lively(name)
    size = model.input_shape[1:3]
    seen, judged = images(12, size, 1), images(4, size, 2)
    expected = np.asarray(keras.ops.softmax(model(judged)))
    np.save(tmp_path / "seen.npy", seen)
    np.save(tmp_path / "judged.npy", judged)
    network = optimise(read(model))
    even = equalise(network, observe(network, seen, batch=2))

    write_tflite(ExportGraph(network, batch=1), tmp_path / "float.tflite")
    write_tflite(ExportGraph(even, batch=1, integer=True), tmp_path / "source.tflite")
    quantize(tmp_path / "float.tflite", tmp_path / "dynamic.tflite", DYNAMIC)
    statistics = collect(tmp_path / "source.tflite", tmp_path / "seen.npy")
    quantize(tmp_path / "source.tflite", tmp_path / "integer.tflite", INTEGER, statistics)
    for kind, error in (("float", 1e-4), ("dynamic", 0.03), ("integer", 0.15)):
        path = tmp_path / f"{kind}.tflite"
        assert obstacles(path) == []
        found = outputs_of(path, tmp_path / "judged.npy", 2)
        assert np.abs(found - expected).mean() < error, kind

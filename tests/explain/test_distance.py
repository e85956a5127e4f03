"""Attention distance against its definition, written as loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import keras_vit
from keras_vit.evaluation import to_array
from keras_vit.explain import Attention, attention, attention_distance, distance_figure

GRID, PATCH = (3, 5), 4
PLACES = list(itertools.product(range(GRID[0]), range(GRID[1])))


def made(patches: np.ndarray, prefix: int = 0) -> Attention:
    """Attention between patches (B, L, H, n, n), with as many tokens before them that are looked at, too."""
    count = patches.shape[-1] + prefix
    scores = np.full((*patches.shape[:3], count, count), 1.0 / count, "float32")
    scores[..., prefix:, prefix:] = patches * (1 - prefix / count)
    tokens = ("class_token", *(f"register_{i}" for i in range(prefix - 1)))[:prefix]
    tokens += tuple(f"patch_{row}_{column}" for row, column in PLACES)
    readers = np.full((len(patches), count), 1 / count, "float32")
    layers, heads = (tuple(range(size)) for size in patches.shape[1:3])
    return Attention(scores, layers, heads, GRID, tokens, readers)


def by_loops(scores: np.ndarray, prefix: int) -> np.ndarray:
    images, layers, heads = scores.shape[:3]
    found = np.zeros((layers, heads))
    for image, layer, head in np.ndindex(images, layers, heads):
        for i, there in enumerate(PLACES):
            row = scores[image, layer, head, prefix + i, prefix:].astype("float64")
            far = sum(
                share * PATCH * math.hypot(there[0] - other[0], there[1] - other[1])
                for share, other in zip(row, PLACES, strict=True)
            )
            found[layer, head] += far / row.sum() / len(PLACES) / images
    return found


@pytest.mark.parametrize("prefix", [0, 1, 3])
def test_it_is_what_the_loops_say(prefix):
    patches = np.random.default_rng(0).dirichlet(np.full(15, 0.3), (2, 2, 3, 15)).astype("float32")
    attention = made(patches, prefix)
    distances = attention_distance(attention, PATCH)
    assert distances.shape == (2, 3)
    assert distances.dtype == np.float32
    np.testing.assert_allclose(distances, by_loops(attention.scores, prefix), rtol=1e-5)


@pytest.mark.parametrize("prefix", [0, 2])
def test_looking_everywhere_alike_is_the_mean_distance_of_all_pairs(prefix):
    everywhere = np.full((1, 1, 1, 15, 15), 1 / 15, "float32")
    pairs = [PATCH * math.dist(a, b) for a, b in itertools.product(PLACES, PLACES)]
    np.testing.assert_allclose(attention_distance(made(everywhere, prefix), PATCH), np.mean(pairs), rtol=1e-6)


def test_looking_at_oneself_is_no_distance():
    itself = np.eye(15, dtype="float32")[None, None, None].repeat(4, axis=2)
    assert (attention_distance(made(itself, 1), PATCH) == 0).all()


def test_looking_at_no_patch_is_no_number_out_of_nothing():
    nowhere = made(np.zeros((1, 1, 1, 15, 15), "float32"), 1)
    assert (attention_distance(nowhere, PATCH) == 0).all()


def test_of_a_model_and_as_a_figure():
    model = keras_vit.build("vit_mu4", num_classes=3, image_size=(12, 20), depth=2, registers=2, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (2, 12, 20, 3)).astype("uint8")
    seen = attention(model, images)
    distances = attention_distance(seen, PATCH)
    np.testing.assert_allclose(distances, by_loops(seen.scores, 3), rtol=1e-5)
    figure = distance_figure(distances, seen.layers, seen.grid, PATCH)
    (axes,) = figure.axes
    drawn = axes.collections[0].get_offsets()
    np.testing.assert_allclose(drawn, [(layer, d) for layer in (0, 1) for d in distances[layer]])
    assert axes.get_xlabel() == "block"
    assert "pixels" in axes.get_ylabel()
    assert to_array(figure).std() > 5

"""A classifier of which one knows what it goes by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import pytest

import keras_vit


@dataclass(frozen=True)
class Spots:
    """Images (n, 48, 64, 3) of the mean colour with one red, green or blue patch, and a model that tells its colour.

    `places` (n, 3, 4) is 1 where that patch is.
    """

    model: keras.Model
    images: np.ndarray
    labels: np.ndarray
    places: np.ndarray


@pytest.fixture(scope="session")
def spotted() -> Callable[..., Spots]:
    """`spotted(pooling="avg")`: a model with random blocks, of whose features ridge regression learned the colours."""
    found = {}

    def make(pooling: str = "token", count: int = 48) -> Spots:
        if pooling in found:
            return found[pooling]
        rng = np.random.default_rng(0)
        labels, places = np.arange(count) % 3, np.zeros((count, 12), "float32")
        places[np.arange(count), rng.integers(0, 12, count)] = 1
        places = places.reshape(count, 3, 4)
        model = keras_vit.build(
            "vit_mu16", num_classes=3, image_size=(48, 64), depth=2, pooling=pooling, init="xavier", seed=0
        )
        images = np.full((count, 48, 64, 3), 127.5, "float32") + rng.normal(0, 2, (count, 48, 64, 3))
        for image, label, place in zip(images, labels, places, strict=True):
            image[..., label] += 100 * place.repeat(16, 0).repeat(16, 1)
        pooled = keras.Model(model.input, model.get_layer("head").input)
        features = np.asarray(pooled(images.astype("float32")), "float64")
        centred = features - features.mean(0)
        targets = np.eye(3)[labels] - 1 / 3
        gram = centred.T @ centred + 1e-3 * np.eye(32)
        kernel = 6 * np.linalg.solve(gram, centred.T @ targets)
        model.get_layer("head").set_weights([kernel, -features.mean(0) @ kernel])
        found[pooling] = Spots(model, images.astype("float32"), labels, places)
        return found[pooling]

    return make

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
    """Images (n, 12, 16, 3) of the mean colour with one red, green or blue patch, and a model that learned its colour.

    `places` (n, 3, 4) is 1 where that patch is.
    """

    model: keras.Model
    images: np.ndarray
    labels: np.ndarray
    places: np.ndarray


@pytest.fixture(scope="session")
def spotted() -> Callable[..., Spots]:
    """`spotted("avg")`: a model that pools so, trained for seconds."""
    found = {}

    def make(pooling: str = "token", count: int = 192) -> Spots:
        if pooling not in found:
            keras.utils.set_random_seed(0)
            rng = np.random.default_rng(0)
            labels, places = np.arange(count) % 3, np.zeros((count, 12), "float32")
            places[np.arange(count), rng.integers(0, 12, count)] = 1
            places = places.reshape(count, 3, 4)
            images = np.full((count, 12, 16, 3), 127.5, "float32")
            for image, label, place in zip(images, labels, places, strict=True):
                image[..., label] += 100 * place.repeat(4, 0).repeat(4, 1)
            options = {"image_size": (12, 16), "depth": 2, "pooling": pooling, "init": "xavier", "seed": 0}
            model = keras_vit.build("vit_mu4", num_classes=3, **options)
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(keras.optimizers.Adam(3e-3), loss, jit_compile=False)
            model.fit(images, labels, epochs=12, batch_size=16, verbose=0)
            found[pooling] = Spots(model, images, labels, places)
        return found[pooling]

    return make

"""What a model takes for alike: the main directions of its patch features as colours."""

from __future__ import annotations

import keras
import numpy as np
from sklearn.decomposition import PCA

from keras_vit.errors import InputError
from keras_vit.explain.replay import checked, replay_of
from keras_vit.features import features

BATCH = 16
SPAN = (1, 99)
"""Percentiles that become the darkest and the brightest value of a colour: single patches may stand far out."""
LEAST = 1e-6
"""Share of the largest value that a component has to vary by: less is rounding."""


def components(model: keras.Model, images: np.ndarray, layer: int = -1) -> np.ndarray:
    """The first three principal components of the patch features as red, green and blue.

    One basis is found for all images together, so that a colour means the same in each of them; DINOv2 (Oquab et al.,
    2023, figure 1) shows its features so. The features are normalised by the model's last normalisation where it has
    one, as DINOv2's are. Every component points to where its largest weight is positive, so that colours repeat.

    Args:
        model: made by `keras_vit.build` for any task, or reloaded.
        images: (B, H, W, channels), pixels 0..255, as the model takes them.
        layer: number of the block, the first being 0, the last also -1.

    Returns:
        (B, h, w, 3) uint8 on the patch grid. A component that there is not, or that does not vary, is 128 everywhere.

    Raises:
        InputError: not a model of this package, images of another shape, no such block, or one whose tokens are
            merged.
    """
    replay = replay_of(model)
    images = checked(images, replay)
    if not isinstance(layer, int):
        raise InputError(f"layer is the number of one block, such as -1, not {layer!r}.")
    normed = any(own.name == "norm" for own in model.layers)
    of_patches = features(model, [layer], norm=normed)
    maps = [np.asarray(of_patches(images[i : i + BATCH], training=False)) for i in range(0, len(images), BATCH)]
    maps = np.concatenate(maps)
    places = maps.reshape(-1, maps.shape[-1]).astype(np.float64)
    colours = np.full((len(places), 3), 128, np.uint8)
    count = min(3, places.shape[1]) if len(places) > 2 else 0
    if count:
        colours[:, :count] = _stretched(_projected(places, count))
    return colours.reshape(*maps.shape[:-1], 3)


def _projected(places: np.ndarray, count: int) -> np.ndarray:
    """(n, D) on their first principal components, (n, count)."""
    pca = PCA(count, svd_solver="covariance_eigh").fit(places)
    largest = np.abs(pca.components_).argmax(axis=1)
    return pca.transform(places) * np.sign(pca.components_[np.arange(count), largest])


def _stretched(found: np.ndarray) -> np.ndarray:
    """Every column from 0 to 255; 128 where it does not vary."""
    low, high = np.percentile(found, SPAN, axis=0)
    varying = high - low > LEAST * max(1.0, float(np.abs(found).max()))
    shares = (found - low) / np.where(varying, high - low, 1)
    return np.where(varying, np.rint(255 * np.clip(shares, 0, 1)), 128)

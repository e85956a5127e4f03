"""Weights for classes that are rare, from how often they are in the training masks."""

from __future__ import annotations

import numpy as np

from keras_vit.data.masks import Masks

BALANCES = ("median", "sqrt")


def balanced_weights(masks: Masks, num_classes: int, balance: str) -> list[float]:
    """A factor for each class, 1 on the average pixel.

    Args:
        masks: of the training images; all are read.
        num_classes: C.
        balance: `median` divides the median of all classes' frequencies by a class's own, a frequency being the share
            of a class in the images that have it (Eigen and Fergus, 2015); `sqrt` takes the square root of that, which
            spoils common classes less.

    Returns:
        C numbers; a class without a pixel gets 1.
    """
    pixels, around = np.zeros(num_classes), np.zeros(num_classes)
    for index in range(len(masks)):
        mask = masks.read(index)
        found = np.bincount(mask[mask >= 0], minlength=num_classes)
        pixels += found
        around += np.where(found > 0, found.sum(), 0)
    seen = pixels > 0
    frequency = pixels[seen] / around[seen]
    weights = np.median(frequency) / frequency
    weights = np.sqrt(weights) if balance == "sqrt" else weights
    weights /= np.average(weights, weights=pixels[seen])
    every = np.ones(num_classes)
    every[seen] = weights
    return every.tolist()

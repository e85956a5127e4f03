"""Segmenting an image of any size with a model of one size: fitted into it as a whole, or window by window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_vit.data.geometry import resize
from keras_vit.errors import InputError
from keras_vit.evaluation.figures import softmax
from keras_vit.preprocessing import Preprocessing


def places(side: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along one side, evenly spread so that neighbours share at least `overlap` of a window.

    Args:
        side: of the image, in pixels.
        window: side of a window; an image that is smaller has one.
        overlap: at least 0 and below 1.
    """
    if side <= window:
        return [0]
    stride = max(1, int(window * (1 - overlap)))
    count = 1 + -(-(side - window) // stride)
    return np.linspace(0, side - window, count).round().astype(int).tolist()


def view_of(image: np.ndarray, preprocessing: Preprocessing, zoom: float | str) -> np.ndarray:
    """The image in the size that it is segmented in.

    Args:
        image: (H, W, channels) uint8.
        preprocessing: of the model.
        zoom: how much larger than fitted into the model's input, or `native` for as it is.

    Returns:
        (H', W', channels) float32; whole numbers where nothing had to be resized.
    """
    if zoom == "native":
        return image.astype("float32")
    ratios = [side / own for side, own in zip(preprocessing.image_size, image.shape[:2], strict=True)]
    if preprocessing.fit != "squash":
        ratios = [min(ratios)] * 2
    size = [max(1, round(own * ratio * zoom)) for own, ratio in zip(image.shape[:2], ratios, strict=True)]
    if tuple(size) == image.shape[:2]:
        return image.astype("float32")
    return resize(image, tuple(size), preprocessing.interpolation).numpy()


def resized(probabilities: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w, C) class probabilities bilinearly in another size."""
    if probabilities.shape[:2] == tuple(size):
        return probabilities
    return tf.image.resize(probabilities, size).numpy()


def slide(
    outputs_of: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    window: tuple[int, int],
    *,
    overlap: float = 0.5,
    fill: np.ndarray | float = 0.0,
    batch_size: int = 8,
) -> np.ndarray:
    """Class probabilities of every pixel, averaged over the windows that it is in.

    Args:
        outputs_of: images (B, h, w, channels) -> logits (B, h, w, C).
        image: (H, W, channels), pixels 0..255, of any size.
        window: (h, w), what the model takes.
        overlap: share of a window that its neighbours see too, at least 0 and below 1.
        fill: colour beyond the edges of an image that is smaller than a window.
        batch_size: windows at a time.

    Returns:
        (H, W, C) float32.

    Raises:
        InputError: another overlap.
    """
    if not 0 <= overlap < 1:
        raise InputError(f"overlap is a share of the window, at least 0 and below 1, not {overlap}.")
    height, width = image.shape[:2]
    corners = [(y, x) for y in places(height, window[0], overlap) for x in places(width, window[1], overlap)]
    total, seen = None, np.zeros((height, width, 1), "float32")
    for start in range(0, len(corners), batch_size):
        part = corners[start : start + batch_size]
        cuts = [image[y : y + window[0], x : x + window[1]] for y, x in part]
        views = np.empty((len(cuts), *window, image.shape[-1]), "float32")
        views[:] = fill
        for view, cut in zip(views, cuts, strict=True):
            view[: cut.shape[0], : cut.shape[1]] = cut
        for (y, x), cut, logits in zip(part, cuts, outputs_of(views), strict=True):
            rows, columns = cut.shape[:2]
            if total is None:
                total = np.zeros((height, width, logits.shape[-1]), "float32")
            total[y : y + rows, x : x + columns] += softmax(logits[:rows, :columns])
            seen[y : y + rows, x : x + columns] += 1
    return total / seen

"""A map of what a model looked at, laid over the photo as it was taken."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import tensorflow as tf

from keras_vit.data.geometry import placed, scale_and_translate
from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

COLOURS = "viridis"
"""Perceptually uniform, and ordered by brightness for colour-blind people too (van der Walt and Smith, 2015)."""
COLD, HOT = 0.5, 0.99
"""Shares of the map's cells: up to the one the photo stays as it is, from the other on the colour is the hottest."""
OPACITY = 0.7
"""Of the hottest colour, so that the photo is still there below it."""
UNSEEN = 0.4
"""Brightness that is left to what the model did not see."""
ROWS = 256
"""Rows of a photo that are mixed at a time: large photos would take gigabytes as floats."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def overlay(
    image: np.ndarray, heat: np.ndarray, preprocessing: Preprocessing, *, patch_size: int | None = None
) -> np.ndarray:
    """The photo in its own size with a map over it: the hotter, the brighter the colour and the less of the photo.

    What the model did not see, because the photo was cut to fit its input, is dark and without colour. Colours compare
    places of one photo, not photos: see `relative`.

    Args:
        image: the original photo, (H, W, 1 or 3) uint8.
        heat: (h, w) >= 0 over the model's input, one number a patch or a pixel.
        preprocessing: how the photo was fitted into the input.
        patch_size: side of the map's cells in pixels of the input, which the last of them may reach beyond; by default
            the map spans the input from edge to edge.

    Returns:
        (H, W, 3) uint8.

    Raises:
        InputError: an image or a map of another form, or a map with values that are no numbers.
    """
    _check(image)
    heat = np.asarray(heat, np.float32)
    if heat.ndim != 2 or not heat.size or not np.isfinite(heat).all():
        raise InputError(f"heat is a map (h, w) of finite numbers, not {heat.shape} with {heat.size} numbers.")
    cell = _cell(heat.shape, preprocessing, patch_size)
    values = relative(heat, _on_photo(heat.shape, image.shape[:2], preprocessing, cell))
    values = _enlarged(values, image.shape[:2], preprocessing, cell)
    table = _table()

    def mixed(pixels: np.ndarray, rows: slice) -> np.ndarray:
        share = values[rows, :, None]
        return pixels + OPACITY * share * (table[np.rint(255 * values[rows]).astype(int)] - pixels)

    return _drawn(image, preprocessing, mixed)


def mosaic(
    image: np.ndarray, colours: np.ndarray, preprocessing: Preprocessing, *, patch_size: int | None = None
) -> np.ndarray:
    """Colours of patches, such as `components` gives, where the patches are in the photo; elsewhere as in `overlay`.

    Args:
        image: the original photo, (H, W, 1 or 3) uint8.
        colours: (h, w, 3) uint8 over the model's input.
        preprocessing, patch_size: as in `overlay`.

    Returns:
        (H, W, 3) uint8, every patch an area of one colour.

    Raises:
        InputError: an image or colours of another form.
    """
    _check(image)
    _check(colours)
    cell = _cell(colours.shape[:2], preprocessing, patch_size)
    rows, columns = (
        np.clip(centres / side, 0, count - 1).astype(int)
        for centres, side, count in zip(_centres(image.shape[:2], preprocessing), cell, colours.shape, strict=False)
    )
    return _drawn(image, preprocessing, lambda pixels, part: colours[rows[part]][:, columns])


def relative(heat: np.ndarray, among: np.ndarray | None = None) -> np.ndarray:
    """A map from 0, nothing to be seen, to 1.

    0 is what half of the cells do not exceed, and 1 what one in a hundred does, so that neither an even level below
    nor a single outlier above hides the rest. Where fewer cells than that differ from the rest, 1 is the highest.

    Args:
        heat: (h, w).
        among: (h, w) bool, the cells that count; all by default.

    Returns:
        (h, w) float32; all 0 where the cells are all alike.
    """
    counted = heat if among is None or not among.any() else heat[among]
    cold, hot = np.quantile(counted, (COLD, HOT))
    hot = hot if hot > cold else counted.max()
    return np.clip((heat - cold) / (hot - cold), 0, 1).astype(np.float32) if hot > cold else np.zeros_like(heat)


def gradient() -> list[str]:
    """The map's colours from cold to hot as `#rrggbb`, for a legend."""
    return [matplotlib.colors.to_hex(colour / 255) for colour in _table()[:: 255 // 5]]


def _check(image: np.ndarray) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] not in (1, 3):
        found = f"{image.dtype} of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"images must be uint8 of shape (height, width, 1 or 3), not {found}.")


def _table() -> np.ndarray:
    """(256, 3) float32 colours 0..255."""
    return (255 * matplotlib.colormaps[COLOURS](np.arange(256))[:, :3]).astype(np.float32)


def _cell(grid: Sequence[int], preprocessing: Preprocessing, patch_size: int | None) -> np.ndarray:
    """Height and width of a cell in pixels of the input."""
    return np.full(2, patch_size, float) if patch_size else np.divide(preprocessing.image_size, grid)


def _centres(shape: tuple[int, int], preprocessing: Preprocessing) -> list[np.ndarray]:
    """Where the middles of the photo's rows and of its columns lie in the input, in pixels."""
    scale, offset = placed(shape, preprocessing)
    return [(np.arange(side) + 0.5) * scale[axis] + offset[axis] for axis, side in enumerate(shape)]


def _seen(shape: tuple[int, int], preprocessing: Preprocessing) -> list[np.ndarray]:
    """Which rows and which columns of the photo the model saw."""
    return [
        (centres > 0) & (centres < side)
        for centres, side in zip(_centres(shape, preprocessing), preprocessing.image_size, strict=True)
    ]


def _on_photo(grid, shape: tuple[int, int], preprocessing: Preprocessing, cell: np.ndarray) -> np.ndarray:
    """Which cells have their middle on the photo: (h, w) bool."""
    scale, offset = placed(shape, preprocessing)
    inside = []
    for axis, count in enumerate(grid):
        middles = (np.arange(count) + 0.5) * cell[axis]
        end = min(offset[axis] + shape[axis] * scale[axis], preprocessing.image_size[axis])
        inside.append((middles > offset[axis]) & (middles < end))
    return inside[0][:, None] & inside[1]


def _enlarged(values: np.ndarray, shape: tuple[int, int], preprocessing: Preprocessing, cell: np.ndarray) -> np.ndarray:
    """The map bicubically in the photo's pixels, (H, W) 0..1; averaged where it is finer than they are."""
    scale, offset = placed(shape, preprocessing)
    with tf.device("CPU:0"):
        found = scale_and_translate(
            tf.constant(values[..., None]),
            list(shape),
            tf.constant(cell / scale, tf.float32),
            tf.constant(-offset / scale, tf.float32),
            "bicubic",
        )
    return np.clip(found.numpy()[..., 0], 0, 1)


def _drawn(image: np.ndarray, preprocessing: Preprocessing, mixed) -> np.ndarray:
    """The photo, its part that the model saw drawn by `mixed(pixels, rows)`, the rest dark and grey."""
    height, width = image.shape[:2]
    rows, columns = _seen((height, width), preprocessing)
    drawn = np.empty((height, width, 3), np.uint8)
    for start in range(0, height, ROWS):
        part = slice(start, min(start + ROWS, height))
        pixels = np.broadcast_to(image[part], (*image[part].shape[:2], 3)).astype(np.float32)
        unseen = (UNSEEN * (pixels @ _LUMA))[..., None]
        seen = (rows[part][:, None] & columns)[..., None]
        drawn[part] = np.rint(np.where(seen, mixed(pixels, part), unseen))
    return drawn

"""Maps land on the pixels of the photo that they are of, and what was not seen looks so."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from matplotlib.colors import to_rgb

from keras_vit.data import geometry
from keras_vit.errors import InputError
from keras_vit.explain.overlay import UNSEEN, gradient, mosaic, overlay, relative
from keras_vit.preprocessing import Preprocessing

RECORDS = [
    Preprocessing((48, 64), crop=0.8),
    Preprocessing((64, 64), crop=1.0),
    Preprocessing((64, 48), crop=0.9, interpolation="bilinear"),
    Preprocessing((48, 64), crop=0.9, fit="squash"),
    Preprocessing((48, 64), crop=1.0, fit="pad"),
    Preprocessing((64, 48), crop=1.0, fit="pad"),
]
SHAPES = [(90, 130), (131, 77), (40, 40), (600, 200)]
PATCH = 8


def photo(shape: tuple[int, int], channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, channels)).astype("uint8")


def view(image: np.ndarray, record: Preprocessing) -> np.ndarray:
    return geometry.resize_and_crop(tf.constant(image), record).numpy()


def covered(shape: tuple[int, int], record: Preprocessing) -> np.ndarray:
    """Which pixels of the input the photo lies on."""
    return geometry.covered(geometry.placement(tf.constant(shape), record), tf.constant(shape), record).numpy()


def patches_on(shape: tuple[int, int], record: Preprocessing, count: int = 4) -> list[tuple[int, int]]:
    """Some patches that lie on the photo as a whole."""
    rows, columns = (side // PATCH for side in record.image_size)
    inside = covered(shape, record).reshape(rows, PATCH, columns, PATCH).all(axis=(1, 3))
    found = np.argwhere(inside)
    return [tuple(found[i]) for i in np.linspace(0, len(found) - 1, count).astype(int)]


@pytest.mark.parametrize("record", RECORDS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_hot_patch_lands_where_the_model_saw_it(record, shape):
    image = photo(shape)
    grid = tuple(side // PATCH for side in record.image_size)
    cold = overlay(image, np.zeros(grid), record)
    scale, _ = geometry.placed(shape, record)
    for patch in patches_on(shape, record):
        heat = np.zeros(grid)
        heat[patch] = 1.0
        hot = overlay(image, heat, record)
        assert hot.shape == (*shape, 3)
        assert hot.dtype == np.uint8
        # What changed is painted white on black, and looked at as the model looks at photos.
        marked = np.abs(hot.astype(int) - cold).sum(-1, keepdims=True).repeat(3, -1)
        marked = np.where(marked > 12, 255, 0).astype("uint8")
        seen = view(marked, record)[..., 0] * covered(shape, record)
        ys, xs = np.mgrid[: record.image_size[0], : record.image_size[1]] + 0.5
        centre = np.array([(seen * ys).sum(), (seen * xs).sum()]) / seen.sum()
        # Patches at the edge of what was seen reach beyond it: half of their slope is missing.
        at_edge = any(place in (0, last - 1) for place, last in zip(patch, grid, strict=True)) or record.fit == "pad"
        slack = max(1.0, *scale) + (0.25 * PATCH if at_edge else 0)
        np.testing.assert_allclose(centre, (np.array(patch) + 0.5) * PATCH, atol=slack)
        # Nothing is coloured more than a patch away.
        far = (np.abs(ys - centre[0]) > 1.6 * PATCH) | (np.abs(xs - centre[1]) > 1.6 * PATCH)
        assert seen[far & covered(shape, record)].max(initial=0) < 128


@pytest.mark.parametrize("record", RECORDS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_was_cut_off_is_dark_and_grey_whatever_the_map_says(record, shape):
    image = photo(shape)
    heat = np.random.default_rng(1).uniform(size=(6, 8))
    drawn = overlay(image, heat, record)
    frame = [[0, 0, *record.image_size[::-1]]]
    x0, y0, x1, y1 = geometry.boxes_to_original(frame, shape, record)[0]
    ys, xs = np.mgrid[: shape[0], : shape[1]] + 0.5
    seen = (ys > y0) & (ys < y1) & (xs > x0) & (xs < x1)
    luma = UNSEEN * (image[~seen] @ np.array([0.299, 0.587, 0.114]))
    np.testing.assert_allclose(drawn[~seen], np.repeat(luma[:, None], 3, 1), atol=1)
    assert (drawn[seen] != image[seen]).any() or not seen.any()
    if record.fit == "pad":
        assert seen.all()


def test_cold_places_keep_the_photo_and_an_even_map_all_of_it():
    record = Preprocessing((48, 48), crop=1.0)
    image = photo((96, 96))
    np.testing.assert_array_equal(overlay(image, np.full((6, 6), 0.3), record), image)
    heat = np.zeros((6, 6))
    heat[:, 4:] = 1.0
    drawn = overlay(image, heat, record)
    np.testing.assert_array_equal(drawn[:, :48], image[:, :48])
    # Where it is hottest there is still some of the photo.
    spot = drawn[40:56, 88:].reshape(-1, 3).astype(float)
    below = image[40:56, 88:].reshape(-1, 3).astype(float)
    assert all(np.corrcoef(spot[:, c], below[:, c])[0, 1] > 0.9 for c in range(3))


def test_grey_photos_and_maps_of_pixels():
    record = Preprocessing((48, 64), (0.5,), (0.5,), crop=0.9)
    grey = photo((70, 60), 1)
    heat = np.random.default_rng(0).uniform(size=(48, 64))
    drawn = overlay(grey, heat, record)
    np.testing.assert_array_equal(drawn, overlay(grey.repeat(3, -1), heat, record))


def test_padded_input_ends_before_the_last_patches():
    record = Preprocessing((18, 22), crop=1.0)
    heat = np.zeros((5, 6))
    heat[1, 4] = 1.0
    # 8 pixels of the photo are one of the input: patches of 4 are 32 wide.
    image = np.zeros((144, 176, 3), "uint8")
    changed = overlay(image, heat, record, patch_size=4).sum(-1) > 60
    ys, xs = np.nonzero(changed)
    np.testing.assert_allclose([ys.mean() + 0.5, xs.mean() + 0.5], [1.5 * 32, 4.5 * 32], atol=1)


def test_maps_are_scaled_by_what_most_cells_say():
    heat = np.linspace(0, 1, 400).reshape(20, 20)
    heat[0, 0] = 1000
    scaled = relative(heat)
    assert scaled[0, 0] == 1
    assert scaled[:10].max() == scaled[0, 0]
    assert scaled[10, 10] < 0.1 < 0.9 < scaled[19, 10]
    lonely = np.zeros((20, 20))
    lonely[3, 5] = 2e-9
    np.testing.assert_array_equal(relative(lonely), lonely > 0)
    np.testing.assert_array_equal(relative(np.full((4, 4), 7.0)), np.zeros((4, 4)))
    # Cells beside the photo do not count.
    beside = np.zeros((4, 4), bool)
    beside[:2] = True
    assert relative(np.where(beside, np.eye(4), 100.0), beside)[0, 0] == 1


@pytest.mark.parametrize("record", RECORDS, ids=str)
def test_mosaic_puts_colours_where_the_patches_are(record):
    shape = (160, 240)
    grid = tuple(side // PATCH for side in record.image_size)
    colours = np.random.default_rng(0).integers(0, 256, (*grid, 3)).astype("uint8")
    seen = view(mosaic(photo(shape), colours, record), record)
    centres = seen[PATCH // 2 :: PATCH, PATCH // 2 :: PATCH]
    whole = covered(shape, record).reshape(grid[0], PATCH, grid[1], PATCH).all(axis=(1, 3))
    assert whole.sum() > 6
    np.testing.assert_allclose(centres[whole], colours[whole], atol=25)


def test_the_legend_grows_brighter():
    light = [np.dot(to_rgb(colour), (0.299, 0.587, 0.114)) for colour in gradient()]
    assert len(light) == 6
    assert (np.diff(light) > 0.05).all()


@pytest.mark.parametrize(
    ("image", "heat", "words"),
    [
        (np.zeros((4, 4, 3), "float32"), np.zeros((2, 2)), "uint8 of shape .* not float32"),
        (np.zeros((4, 4), "uint8"), np.zeros((2, 2)), r"not uint8 of shape \(4, 4\)"),
        ([[0]], np.zeros((2, 2)), "not list"),
        (np.zeros((4, 4, 3), "uint8"), np.zeros((1, 2, 2)), r"heat is a map \(h, w\)"),
        (np.zeros((4, 4, 3), "uint8"), np.array([[0.0, np.nan]]), "finite"),
    ],
)
def test_other_forms_are_refused(image, heat, words):
    with pytest.raises(InputError, match=words):
        overlay(image, heat, Preprocessing((4, 4)))

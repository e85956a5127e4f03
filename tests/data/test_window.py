"""One window for pixels, masks and boxes: what is marked must move exactly with what is seen."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.data import IGNORE, Augment, geometry
from keras_vit.data.window import KEPT, RandomWindow, whole_window
from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

FITS = {"pad": 1.0, "squash": 1.0, "crop": 0.9}


def record(fit="pad", size=(48, 64), channels=1):
    grey = (0.5,) * channels
    return Preprocessing(size, grey, grey, crop=FITS[fit], interpolation="bilinear", fit=fit)


def views(augment, preprocessing, image, count):
    """`count` random (pixels, window) of one image."""
    draw = RandomWindow(augment, preprocessing)
    return [draw(tf.constant(image), tf.constant([3, i], tf.int64)) for i in range(count)]


def blocks(height=60, width=90, side=15):
    """A mask of big blocks of random classes 0..2."""
    small = np.random.default_rng(0).integers(0, 3, (height // side, width // side))
    return np.kron(small, np.ones((side, side), int)).astype(np.int32)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.4, 0.6), (0.5, 2.0), (2.0, 3.0)], ids=str)
def test_a_picture_of_the_mask_moves_like_the_mask(fit, scale):
    mask = blocks()
    image = (np.eye(3)[mask] * 255).astype(np.uint8)
    for pixels, window in views(Augment(scale=scale), record(fit, channels=3), image, 20):
        seen, marked = pixels.numpy(), window.mask(tf.constant(mask)).numpy()
        assert marked.dtype == np.int32
        assert set(np.unique(marked)) <= {IGNORE, 0, 1, 2}
        assert (seen[marked == IGNORE] == 128).all()
        # A pixel that is 3/4 of a class, at a corner between blocks, may have its centre in another; not one with more.
        clear = (seen.max(-1) > 0.8 * 255) & (marked != IGNORE)
        assert clear.sum() > 0.5 * (marked != IGNORE).sum()
        np.testing.assert_array_equal(seen.argmax(-1)[clear], marked[clear])


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 2.0)], ids=str)
def test_filled_rectangles_move_with_their_boxes(fit, scale):
    size = (60, 90)
    rows = np.array([[8, 10, 41, 33, 0], [50, 20, 88, 58, 1], [0, 40, 30, 60, 2]], np.float32)
    seen = 0
    for label, (x0, y0, x1, y1, _) in enumerate(rows.astype(int)):
        image = np.zeros((*size, 1), np.uint8)
        image[y0:y1, x0:x1] = 255
        for pixels, window in views(Augment(scale=scale), record(fit), image, 15):
            kept = window.boxes(tf.constant(rows[label : label + 1])).numpy()
            # The rectangle's pixels are those that it covers by more than half.
            bright = (pixels.numpy()[..., 0] > 127.5) & window.covered.numpy()
            if len(kept) == 0:
                continue
            seen += 1
            ys, xs = np.nonzero(bright)
            found = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1, label]
            np.testing.assert_allclose(kept[0], found, atol=0.75)
    assert seen > 20


def test_boxes_are_where_their_masks_are():
    mask = np.zeros((30, 40), np.int32)
    mask[5:12, 7:20] = 1
    image, row = np.zeros((30, 40, 1), np.uint8), tf.constant([[7.0, 5.0, 20.0, 12.0, 1.0]])
    mirrored = set()
    for _, window in views(Augment(scale=(0.5, 1.0), flip_vertical=True), record(size=(60, 80)), image, 30):
        (box,) = window.boxes(row).numpy()
        marked = np.argwhere(window.mask(tf.constant(mask)).numpy() == 1)
        np.testing.assert_allclose([*marked.min(0), *(marked.max(0) + 1)], box[[1, 0, 3, 2]], atol=0.501)
        mirrored.add(tuple(window.mirrored.numpy().tolist()))
    assert len(mirrored) == 4


def test_little_that_remains_is_no_target():
    window = whole_window(tf.constant([100, 100]), Preprocessing((50, 50), crop=1.0))
    shifted = window.place._replace(offset=tf.constant([0.0, -25.0]))
    window = type(window)(window.shape, shifted, tf.constant([False, False]), window.preprocessing)
    # Of the image's columns, those from 50 on are seen.
    rows = [
        [10, 10, 50 + 40 * KEPT / (1 - KEPT) + 1, 50, 0],  # a little more than the share remains
        [10, 10, 50 + 40 * KEPT / (1 - KEPT) - 1, 50, 1],  # a little less
        [60, 10, 61.9, 50, 2],  # narrower than a pixel of the input
        [60, 10, 62.1, 50, 3],
        [-1, 99, 80, 101, 4],  # a pixel beyond the image is cut off first; what is left is half a pixel high
        [10, 10, 40, 40, 5],  # not seen
    ]
    kept = window.boxes(tf.constant(rows, tf.float32)).numpy()
    assert kept[:, 4].tolist() == [0, 3]
    np.testing.assert_allclose(kept[0, :4], [0, 5, (50 + 40 / 3 + 1) / 2 - 25, 25], atol=1e-4)


@pytest.mark.parametrize("fit", FITS)
def test_without_augmentation_it_is_the_evaluation_view(fit):
    image = np.random.default_rng(1).integers(0, 256, (70, 50, 1), np.uint8)
    ((pixels, window),) = views(Augment(scale=(1, 1), flip=False), record(fit), image, 1)
    np.testing.assert_array_equal(pixels, geometry.resize_and_crop(tf.constant(image), record(fit)))
    whole = whole_window(tf.constant([70, 50]), record(fit))
    mask = tf.constant(blocks(70, 50, 10))
    np.testing.assert_array_equal(window.mask(mask), whole.mask(mask))


@pytest.mark.parametrize("fit", FITS)
def test_an_image_of_the_models_size_is_untouched(fit):
    preprocessing = Preprocessing((60, 90), (0.5,), (0.5,), crop=1.0, fit=fit)
    mask = np.random.default_rng(1).integers(0, 5, (60, 90)).astype(np.int32)
    window = whole_window(tf.constant([60, 90]), preprocessing)
    image = tf.constant((mask * 50).astype(np.uint8)[..., None])
    np.testing.assert_array_equal(window.mask(tf.constant(mask)), mask)
    np.testing.assert_array_equal(window.fitted(image), image)
    np.testing.assert_array_equal(window.pixels(image), image)
    row = tf.constant([[3.25, 4.5, 89.5, 60.0, 2.0]])
    np.testing.assert_array_equal(window.boxes(row), row)


def test_the_size_is_random_unless_told_otherwise():
    assert RandomWindow(Augment(), record()).scale == (0.75, 1.5)


def test_the_size_is_within_its_range_and_the_place_anywhere():
    image = np.full((48, 64, 1), 200, np.uint8)
    found = views(Augment(scale=(0.25, 0.5)), record(size=(96, 128)), image, 200)
    extents = []
    for _, window in found:
        ys, xs = np.nonzero(window.covered.numpy())
        extents.append([ys.min(), ys.max() + 1, xs.min(), xs.max() + 1])
    extents = np.array(extents)
    shares = (extents[:, 1] - extents[:, 0]) / 96
    assert 0.23 < shares.min() < 0.3
    assert 0.45 < shares.max() < 0.52
    assert (extents[:, [0, 2]].min(0) <= 2).all()
    assert extents[:, 1].max() >= 94
    assert extents[:, 3].max() >= 126
    mirrored = np.array([window.mirrored for _, window in found])
    assert not mirrored[:, 0].any()
    assert 70 < mirrored[:, 1].sum() < 130


def test_bicubic_and_colour_stay_in_range_and_outside_is_the_mean():
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    preprocessing = Preprocessing((48, 64), (0.1, 0.5, 0.9), (0.5, 0.5, 0.5), crop=1.0, fit="pad")
    for pixels, window in views(Augment(scale=(0.3, 2.0), color=1.0), preprocessing, image, 20):
        pixels, inside = pixels.numpy(), window.covered.numpy()
        assert pixels.min() >= 0
        assert pixels.max() <= 255
        assert (pixels[~inside] == [26, 128, 230]).all()


def test_a_seed_fixes_the_view():
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 1), np.uint8)
    augment = Augment(scale=(0.5, 2.0), color=0.4)
    once, again = (views(augment, record(), image, 10) for _ in range(2))
    for (pixels, _), (same, _) in zip(once, again, strict=True):
        np.testing.assert_array_equal(pixels, same)
    assert len({pixels.numpy().tobytes() for pixels, _ in once}) == 10


@pytest.mark.parametrize(
    "setting",
    [{"rotate": 5}, {"shift": 1}, {"randaugment": 1}, {"erasing": 0.1}, {"mixup": 0.2}, {"cutmix": 1}],
    ids=str,
)
def test_what_is_for_classification_is_refused(setting):
    (name,) = setting
    with pytest.raises(InputError, match=rf"augment\.{name} is for classification only"):
        RandomWindow(Augment(**setting), record())

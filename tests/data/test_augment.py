"""Augmentation: what each setting does to the pixels, and which settings are refused."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.data import augment as ops
from keras_vit.data import randaugment
from keras_vit.data.augment import Augment, ImageAugmenter
from keras_vit.data.mixing import batch_mixer
from keras_vit.data.randaugment import RandAugment
from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

RECORD = Preprocessing((32, 24), crop=1.0)
GREY = Preprocessing((32, 24), (0.5,), (0.5,), crop=1.0)


def photo(channels=3, size=(48, 36)):
    rng = np.random.default_rng(0)
    small = tf.constant(rng.integers(0, 256, (6, 5, channels)), tf.float32)
    return tf.cast(tf.clip_by_value(tf.image.resize(small, size, "bicubic"), 0, 255), tf.uint8)


def seeds(n):
    return [tf.constant([7, i], tf.int64) for i in range(n)]


@pytest.mark.parametrize("record", [RECORD, GREY], ids=["rgb", "grey"])
def test_everything_on(record):
    augmenter = ImageAugmenter(Augment(rotate=20, shift=3, randaugment=2, magnitude=20, erasing=1), record)
    compiled = tf.function(augmenter)
    views = [compiled(photo(record.channels), seed).numpy() for seed in seeds(40)]
    assert {view.shape for view in views} == {(32, 24, record.channels)}
    assert min(view.min() for view in views) >= 0
    assert max(view.max() for view in views) <= 255
    assert len({view.tobytes() for view in views}) == 40
    again = [compiled(photo(record.channels), seed).numpy() for seed in seeds(40)]
    np.testing.assert_array_equal(views, again)


def test_nothing_on_is_the_evaluation_view():
    from keras_vit.data import geometry

    augmenter = ImageAugmenter(Augment(crop_scale=(1, 1), flip=False), RECORD)
    np.testing.assert_array_equal(augmenter(photo(), seeds(1)[0]), geometry.resize_and_crop(photo(), RECORD))


@pytest.mark.parametrize(
    ("settings", "mirror"),
    [({}, np.fliplr), ({"flip": False, "flip_vertical": True}, np.flipud)],
)
def test_flip_mirrors_half(settings, mirror):
    augmenter = tf.function(ImageAugmenter(Augment(crop_scale=(1, 1), **settings), RECORD))
    plain = ImageAugmenter(Augment(crop_scale=(1, 1), flip=False), RECORD)(photo(), seeds(1)[0]).numpy()
    mirrored = [np.array_equal(augmenter(photo(), seed), mirror(plain)) for seed in seeds(200)]
    assert 70 < sum(mirrored) < 130


def test_crop_keeps_the_share_of_area_and_the_ratio():
    # A picture whose pixels say where they are, so that the crop's box can be read off its result.
    rows, columns = np.meshgrid(np.arange(200), np.arange(200), indexing="ij")
    where = tf.constant(np.stack([rows, columns, 0 * rows], -1), tf.uint8)
    augment = Augment(crop_scale=(0.25, 0.5), crop_ratio=(0.5, 2.0))
    augmenter = ImageAugmenter(dataclasses.replace(augment, flip=False), Preprocessing((100, 100), crop=1.0))
    for seed in seeds(30):
        view = augmenter(where, seed).numpy()
        height = (view[90, 50, 0] - view[10, 50, 0]) / 0.8
        width = (view[50, 90, 1] - view[50, 10, 1]) / 0.8
        assert 0.23 < height * width / 200**2 < 0.53
        assert 0.45 < width / height < 2.2


def test_rotation_turns_about_the_centre():
    image = np.zeros((33, 33, 1), np.float32)
    image[16, 26] = 255
    angles = []
    for seed in seeds(50):
        turned = ops.random_rotation(tf.constant(image), seed, 30.0).numpy()[..., 0]
        row, column = np.unravel_index(turned.argmax(), turned.shape)
        angles.append(np.degrees(np.arctan2(row - 16, column - 16)))
        assert abs(np.hypot(row - 16, column - 16) - 10) < 1
    assert -33 < min(angles) < -15
    assert 15 < max(angles) < 33


def test_shift_moves_and_fills_black():
    image = tf.ones((10, 8, 1)) * 200.0
    covered = [float(tf.reduce_mean(ops.random_shift(image, seed, 2))) for seed in seeds(60)]
    assert max(covered) == 200
    assert min(covered) == pytest.approx(200 * (8 / 10) * (6 / 8))


def test_erasing_erases_as_often_and_as_much_as_asked():
    image = tf.fill((40, 40, 3), 300.0)  # out of range, so that erased pixels can be told
    shares = [
        float(tf.reduce_mean(tf.cast(ops.random_erasing(image, s, 0.5, RECORD) < 300, tf.float32))) for s in seeds(300)
    ]
    erased = [share for share in shares if share > 0]
    assert 120 < len(erased) < 180
    assert min(erased) > 0.01
    assert max(erased) < 0.36
    noise = ops.random_erasing(tf.fill((64, 64, 3), 300.0), seeds(2)[1], 1.0, Preprocessing((64, 64))).numpy()
    inside = noise[noise < 300]
    assert abs(inside.mean() - 127.5) < 15
    assert 60 < inside.std() < 120


@pytest.mark.parametrize("channels", [1, 3])
def test_each_randaugment_operation_changes_the_image(channels):
    image = 40 + tf.cast(photo(channels, (32, 24)), tf.float32) * 0.6
    for operation in RandAugment(1, 0.5, channels).operations:
        changed = operation(image, tf.constant([0.3, -0.4]), tf.constant(0.7))
        assert changed.shape == image.shape
        assert float(tf.reduce_max(tf.abs(changed - image))) > 1


def test_randaugments_operations_are_keras_cvs():
    from keras_cv import layers

    image = tf.cast(photo(), tf.float32) + 0.4
    fixed = {"dtype": "float32"}

    def theirs(layer, draws=None):
        return layer.augment_images(image[None], draws)[0]

    one, none = tf.constant([[0.37]]), tf.zeros((1, 1))
    slide, shear = layers.RandomTranslation(1.0, 1.0, **fixed), layers.RandomShear(1.0, 1.0, **fixed)
    bright = {"additions": 40.0, "thresholds": 170.0}
    colour = layers.RandomColorDegeneration(1.0, **fixed)
    pairs = [
        (randaugment.auto_contrast(image), theirs(layers.AutoContrast((0, 255), **fixed))),
        (randaugment.equalize(image), theirs(layers.Equalization((0, 255), **fixed))),
        (randaugment.solarize(image, 40.0, 170.0), theirs(layers.Solarization((0, 255), **fixed), bright)),
        (
            randaugment.contrast(image, 0.37),
            theirs(layers.RandomContrast((0, 255), 1.0, **fixed), one[..., None, None]),
        ),
        (randaugment.fade(image, 0.37), theirs(colour, one[..., None, None])),
        (randaugment.shear(image, 1, 0.37), theirs(shear, {"shear_x": one, "shear_y": None})),
        (randaugment.shear(image, 0, -0.37), theirs(shear, {"shear_x": None, "shear_y": -one})),
        (
            randaugment.translate(image, 1, 0.37),
            theirs(slide, {"height_translations": none, "width_translations": one}),
        ),
        (
            randaugment.translate(image, 0, -0.37),
            theirs(slide, {"height_translations": -one, "width_translations": none}),
        ),
    ]
    for ours, peer in pairs:
        np.testing.assert_allclose(ours, peer, atol=2e-3)


def test_randaugment_leaves_flat_channels_alone():
    flat = tf.fill((8, 6, 3), 77.0)
    np.testing.assert_array_equal(randaugment.auto_contrast(flat), flat)
    np.testing.assert_array_equal(randaugment.equalize(flat), flat)


def test_randaugment_chooses_per_image():
    augment = tf.function(RandAugment(1, 0.3, 3))
    image = tf.cast(photo(3, (32, 24)), tf.float32)
    results = {augment(image, seed).numpy().tobytes() for seed in seeds(60)}
    assert len(results) > 40


def test_randaugment_keeps_float32_under_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mix = batch_mixer(Augment(mixup=0.2, cutmix=1))
        augmenter = ImageAugmenter(Augment(randaugment=1), RECORD)
    finally:
        keras.config.set_dtype_policy(before)
    view = augmenter(photo(), seeds(1)[0])
    assert view.dtype == tf.float32
    images, labels = mix(tf.stack([view, view]), tf.eye(2), seeds(1)[0])
    assert images.dtype == labels.dtype == tf.float32


@pytest.mark.parametrize("settings", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_labels_are_mixed_like_pixels(settings):
    """Images of one colour per class: the share of each colour must be the label's."""
    mix = tf.function(batch_mixer(Augment(**settings)))
    labels = tf.eye(3)[None].numpy().repeat(4, 0).reshape(12, 3)
    images = tf.constant(np.broadcast_to(labels[:, None, None] * 255, (12, 64, 64, 3)), tf.float32)
    mixed_somewhere = False
    for seed in seeds(10):
        mixed, new_labels = mix(images, tf.constant(labels), seed)
        shares = mixed.numpy().mean((1, 2)) / 255
        np.testing.assert_allclose(shares, new_labels.numpy(), atol=0.03)
        np.testing.assert_allclose(new_labels.numpy().sum(1), 1, atol=1e-5)
        mixed_somewhere |= bool((np.abs(new_labels.numpy() - labels) > 0.1).any())
    assert mixed_somewhere


def test_no_mixing_is_none():
    assert batch_mixer(Augment()) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"crop_scale": (0.5,)},
        {"crop_scale": (0, 1)},
        {"crop_scale": (0.9, 0.2)},
        {"crop_scale": (0.5, 1.5)},
        {"crop_ratio": (2, 1)},
        {"rotate": -1},
        {"shift": 1.5},
        {"randaugment": 0.5},
        {"magnitude": 31},
        {"erasing": 1.1},
        {"mixup": -0.1},
        {"cutmix": 2},
    ],
)
def test_wrong_settings(settings):
    (name,) = settings
    with pytest.raises(InputError, match=f"augment.{name}"):
        Augment(**settings)


def test_color_changes_what_it_says():
    from colorsys import rgb_to_hsv

    from keras_vit.data.color import random_color

    image = tf.cast(photo(), tf.float32)
    grey = tf.repeat(tf.reduce_mean(image, -1, keepdims=True), 3, -1)
    views = [random_color(image, seed, 0.4).numpy() for seed in seeds(50)]
    assert min(view.min() for view in views) >= 0
    assert max(view.max() for view in views) <= 255
    ratios = np.array([view.mean() for view in views]) / image.numpy().mean()
    assert 0.55 < ratios.min() < 0.8
    assert 1.2 < ratios.max() < 1.45
    # Grey stays grey whatever the saturation and the hue are.
    for seed in seeds(10):
        view = random_color(grey, seed, 0.4).numpy()
        assert np.abs(view - view.mean(-1, keepdims=True)).max() < 0.5
    # The hue of a plain colour turns by at most strength / 20 of the circle, a little more as YIQ is no HSV.
    plain = tf.broadcast_to([140.0, 90.0, 70.0], (4, 4, 3))
    hues = [rgb_to_hsv(*random_color(plain, seed, 0.4).numpy()[0, 0])[0] for seed in seeds(50)]
    assert 0.005 < np.ptp(hues) < 0.08
    np.testing.assert_array_equal(random_color(image, seeds(1)[0], 0.4), views[0])


def test_color_is_one_more_step_of_an_image():
    settings = {"crop_scale": (1, 1), "flip": False}
    plain = ImageAugmenter(Augment(**settings), RECORD)(photo(), seeds(1)[0]).numpy()
    changed = ImageAugmenter(Augment(**settings, color=0.4), RECORD)(photo(), seeds(1)[0]).numpy()
    assert np.abs(plain - changed).mean() > 2
    grey = ImageAugmenter(Augment(color=0.4), GREY)(photo(1), seeds(1)[0]).numpy()
    assert grey.shape == (32, 24, 1)


def test_scale_is_not_for_classification():
    with pytest.raises(InputError, match=r"augment\.scale is for masks and boxes: for classification set"):
        Augment(scale=(0.5, 2)).check_for_classes()
    for wrong in ((0, 1), (2, 1), (1, 2, 3)):
        with pytest.raises(InputError, match=r"augment\.scale must be two numbers"):
            Augment(scale=wrong)
    with pytest.raises(InputError, match=r"augment\.color must be at least 0 and at most 1"):
        Augment(color=1.5)

"""Resize and crop against timm's evaluation transform, done with Pillow as torchvision does it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_vit.data import geometry
from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

MODES = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR}


def timm_eval(image: Image.Image, record: Preprocessing) -> np.ndarray:
    """torchvision.transforms.Resize (square) or timm's ResizeKeepRatio, then torchvision's CenterCrop."""
    height, width = record.image_size
    target = [math.floor(side / record.crop) for side in record.image_size]
    if target[0] == target[1]:
        short, long = sorted(image.size)
        other = int(target[0] * long / short)
        size = (target[0], other) if image.width <= image.height else (other, target[0])
    else:
        ratio = min(image.height / target[0], image.width / target[1])
        size = (round(image.width / ratio), round(image.height / ratio))
    if size != image.size:
        image = image.resize(size, MODES[record.interpolation])
    top, left = round((image.height - height) / 2.0), round((image.width - width) / 2.0)
    return np.asarray(image.crop((left, top, left + width, top + height)))


def squash(image: Image.Image, height: int, width: int, interpolation: str) -> np.ndarray:
    """Pillow's resize, rows first: from version 13 on it does the columns of some tall images before the rows."""
    mode = MODES[interpolation]
    return np.asarray(image.resize((width, image.height), mode).resize((width, height), mode), np.float32)


def scene(width: int, height: int) -> Image.Image:
    """Smooth colours with hard black and white edges, where rounding and overshoot show."""
    rng = np.random.default_rng(width * height)
    image = np.asarray(Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize((width, height))).copy()
    image[height // 3 : height // 2] = 255
    image[:, width // 3 : width // 2 : 3] = 0
    return Image.fromarray(image)


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (341, 256), (256, 256), (97, 203), (224, 224), (1203, 801)])
@pytest.mark.parametrize(
    "record",
    [
        Preprocessing(),
        Preprocessing(crop=0.875, interpolation="bilinear"),
        Preprocessing(crop=1.0),
        Preprocessing(image_size=(160, 224), crop=0.95),
        Preprocessing(image_size=(224, 97), crop=0.875),
    ],
    ids=str,
)
def test_equals_timm(size, record):
    image = scene(*size)
    ours = geometry.resize_and_crop(tf.constant(np.asarray(image)), record).numpy()
    difference = np.abs(ours - timm_eval(image, record))
    assert ours.shape == (*record.image_size, 3)
    assert difference.max() <= 2
    assert difference.mean() < 0.05
    np.testing.assert_array_equal(ours, np.round(ours))


def test_photos_equal_timm(shared_data):
    for path in sorted((shared_data / "imagenet_sample" / "images").glob("*.jpg"))[::100]:
        image = Image.open(path).convert("RGB")
        ours = geometry.resize_and_crop(tf.constant(np.asarray(image)), Preprocessing()).numpy()
        difference = np.abs(ours - timm_eval(image, Preprocessing()))
        assert difference.max() <= 2
        assert difference.mean() < 0.05


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (97, 203), (256, 256), (1203, 801)])
@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize(("target", "crop"), [((224, 224), 1.0), ((160, 224), 1.0), ((160, 224), 0.9)], ids=str)
def test_squash_equals_pillow(size, interpolation, target, crop):
    image = scene(*size)
    record = Preprocessing(target, crop=crop, interpolation=interpolation, fit="squash")
    ours = geometry.resize_and_crop(tf.constant(np.asarray(image)), record).numpy()
    whole = tuple(int(side / crop) for side in target)
    top, left = (round((a - b) / 2) for a, b in zip(whole, target, strict=True))
    expected = squash(image, *whole, interpolation)[top : top + target[0], left : left + target[1]]
    difference = np.abs(ours - expected)
    assert ours.shape == (*target, 3)
    assert difference.max() <= 2
    assert difference.mean() < 0.05
    np.testing.assert_array_equal(ours, np.round(ours))


def test_squashed_photos_equal_pillow(shared_data):
    record = Preprocessing(crop=1.0, fit="squash")
    for path in sorted((shared_data / "imagenet_sample" / "images").glob("*.jpg"))[::100]:
        image = Image.open(path).convert("RGB")
        ours = geometry.resize_and_crop(tf.constant(np.asarray(image)), record).numpy()
        difference = np.abs(ours - squash(image, 224, 224, "bicubic"))
        assert difference.max() <= 2
        assert difference.mean() < 0.05
        assert np.abs(ours - np.asarray(image.resize((224, 224), Image.BICUBIC), np.float32)).mean() < 0.5


def test_fit_is_checked_and_defaults_to_crop():
    with pytest.raises(InputError, match="fit 'squish' is not known: did you mean 'squash'"):
        Preprocessing(fit="squish")
    old = {name: value for name, value in Preprocessing(fit="crop").to_dict().items() if name != "fit"}
    assert Preprocessing(**old).fit == "crop"
    squashed = Preprocessing(fit="squash")
    assert Preprocessing(**squashed.to_dict()) == squashed
    assert squashed.fitted((32, 48), 1).fit == "squash"


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
def test_same_size_is_untouched(channels, fit):
    image = np.random.default_rng(0).integers(0, 256, (28, 28, channels), np.uint8)
    record = Preprocessing((28, 28), (0.5,) * channels, (0.5,) * channels, crop=1.0, fit=fit)
    np.testing.assert_array_equal(geometry.resize_and_crop(tf.constant(image), record), image)


def test_resize_is_antialiased_and_in_range():
    image = scene(300, 200)
    ours = geometry.resize(tf.constant(np.asarray(image)), (64, 48), "bicubic").numpy()
    pillow = np.asarray(image.resize((48, 64), Image.BICUBIC), np.float32)
    assert ours.min() >= 0
    assert ours.max() <= 255
    assert np.abs(ours - pillow).mean() < 1


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (97, 203), (256, 256), (1203, 801), (3, 900)])
@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize("target", [(224, 224), (160, 224)], ids=str)
def test_pad_equals_pillow(size, interpolation, target):
    image = scene(*size)
    record = Preprocessing(target, (0.2, 0.5, 0.8), crop=1.0, interpolation=interpolation, fit="pad")
    ours = geometry.resize_and_crop(tf.constant(np.asarray(image)), record).numpy()
    ratio = min(target[1] / size[0], target[0] / size[1])
    width, height = (max(1, round(side * ratio)) for side in size)
    difference = np.abs(ours[:height, :width] - squash(image, height, width, interpolation))
    assert (width == target[1]) or (height == target[0])
    assert ours.shape == (*target, 3)
    assert difference.max() <= 2
    assert difference.mean() < 0.05
    np.testing.assert_array_equal(ours[height:], np.broadcast_to([51, 128, 204], ours[height:].shape))
    np.testing.assert_array_equal(ours[:, width:], np.broadcast_to([51, 128, 204], ours[:, width:].shape))


def test_pad_keeps_the_whole_image():
    with pytest.raises(InputError, match=r'fit "pad" keeps the whole image, so crop must be 1, not 0\.9'):
        Preprocessing(fit="pad")
    padded = Preprocessing(crop=1.0, fit="pad")
    assert Preprocessing(**padded.to_dict()) == padded


RECORDS = [
    Preprocessing((48, 64), crop=0.8),
    Preprocessing((64, 64), crop=1.0),
    Preprocessing((48, 64), crop=0.9, fit="squash"),
    Preprocessing((48, 64), crop=1.0, fit="pad"),
]


@pytest.mark.parametrize("record", RECORDS, ids=str)
@pytest.mark.parametrize("shape", [(90, 130), (131, 77), (30, 30)], ids=str)
def test_predictions_go_back_to_the_original(record, shape):
    # A filled rectangle is found in the view by its pixels, and must be found where it was.
    x0, y0, x1, y1 = (round(share * side) for share, side in zip((0.4, 0.35, 0.6, 0.6), 2 * shape[::-1], strict=True))
    image = np.zeros((*shape, 3), np.uint8)
    image[y0:y1, x0:x1] = 255
    view = geometry.resize_and_crop(tf.constant(image), record).numpy()[..., 0]
    scale, _ = geometry.placed(shape, record)
    place = geometry.placement(tf.constant(shape), record)
    covered = geometry.covered(place, tf.constant(shape), record).numpy()
    mask = ((view > 127.5) & covered).astype(np.int32)
    ys, xs = np.nonzero(mask)
    found = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]])
    back = geometry.boxes_to_original(found, shape, record)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, [[x0, y0, x1, y1]], atol=0.6 / scale.min())


def test_what_reaches_beyond_is_cut_off():
    record = Preprocessing((48, 64), crop=1.0, fit="pad")
    boxes = np.array([[[-5.0, -5.0, 100.0, 100.0], [8.0, 12.0, 16.0, 24.0]]])
    back = geometry.boxes_to_original(boxes, (96, 96), record)
    np.testing.assert_array_equal(back, [[[0, 0, 96, 96], [16, 24, 32, 48]]])
    assert geometry.boxes_to_original(np.zeros((0, 4)), (96, 96), record).shape == (0, 4)

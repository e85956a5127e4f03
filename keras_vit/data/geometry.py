"""From an image of any size to the size that a model takes, as timm does it at evaluation, and back."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_vit.preprocessing import Preprocessing

# Pillow's bicubic is Keys' cubic with a = -0.5, its bilinear a triangle; both widen when shrinking.
_KERNELS = {"bicubic": "keyscubic", "bilinear": "triangle"}
# A pixel of the input is beyond the image when its centre is; the rest of a pixel in which this is not asked exactly.
_EDGE = 1e-3


class Placement(NamedTuple):
    """Where an image lies in the model's input: pixel x of the image is pixel `x * scale + offset` of the input.

    Attributes:
        scale, offset: (2,) float32, of rows and of columns; the offset is in pixels of the input.
    """

    scale: tf.Tensor
    offset: tf.Tensor


def resize_and_crop(image: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """The evaluation view: the image is fitted into the model's input as the record says.

    `fit="crop"`: resized to cover size / crop, and its centre cut out. It follows timm's `transforms_imagenet_eval`
    with `crop_mode="center"`: for square sizes torchvision's `Resize` of the shorter side, for rectangles
    `ResizeKeepRatio`, then `CenterCrop`. One difference: for rectangles timm leaves its interpolation argument out and
    resizes bilinearly, here the record's interpolation is used.
    `fit="squash"` resizes each axis by itself to its size / crop: timm's `crop_mode="squash"`.
    `fit="pad"`: resized to fit inside, and filled up at the right and bottom with the record's mean colour.

    Args:
        image: (H, W, C) uint8.
        preprocessing: the record.

    Returns:
        (h, w, C) float32, whole numbers 0..255 like the 8-bit image that Pillow would give.
    """
    place = placement(tf.shape(image)[:2], preprocessing)
    pixels = tf.cast(image, tf.float32)
    # Pillow resizes the rows first (before version 13 always) and stores whole numbers in between.
    for axis in (1, 0):
        pixels = _resample(pixels, axis, place, preprocessing)
        pixels = tf.clip_by_value(tf.floor(pixels + 0.5), 0.0, 255.0)
    pixels.set_shape((*preprocessing.image_size, image.shape[-1]))
    if preprocessing.fit == "pad":
        pixels = tf.where(covered(place, tf.shape(image)[:2], preprocessing)[..., None], pixels, fill(preprocessing))
    return pixels


def placement(shape: tf.Tensor, preprocessing: Preprocessing) -> Placement:
    """Where `resize_and_crop` puts an image.

    Args:
        shape: (2,) int32, the image's height and width in pixels.
        preprocessing: the record.
    """
    size = preprocessing.image_size
    target = tuple(math.floor(side / preprocessing.crop) for side in size)
    if preprocessing.fit == "squash":
        resized = tf.constant(target)
    elif preprocessing.fit == "pad":
        resized = _inside_shape(shape, target)
    else:
        resized = _covering_shape(shape, target)
    margin = tf.cast(resized - size, tf.float32)
    # Rounds halves to even, as Python does in torchvision.
    offset = tf.zeros(2) if preprocessing.fit == "pad" else -tf.round(margin / 2)
    return Placement(tf.cast(resized, tf.float32) / tf.cast(shape, tf.float32), offset)


def covered(place: Placement, shape: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Which pixels of the model's input an image lies on: (h, w) bool."""
    inside = []
    for axis, side in enumerate(preprocessing.image_size):
        centres = tf.range(side, dtype=tf.float32) + 0.5
        end = place.offset[axis] + tf.cast(shape[axis], tf.float32) * place.scale[axis]
        inside.append((centres > place.offset[axis] + _EDGE) & (centres < end - _EDGE))
    return inside[0][:, None] & inside[1][None, :]


def fill(preprocessing: Preprocessing) -> tf.Tensor:
    """The record's mean as an 8-bit colour, for pixels beyond the image: (C,) float32 whole numbers 0..255."""
    return tf.constant([float(round(channel * 255)) for channel in preprocessing.mean])


def placed(shape: tuple[int, int], preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    """Where an image of this height and width lies in the model's input, for whoever maps predictions back.

    Returns:
        Scale and offset, (2,) float64 each, of rows and columns: `input = image * scale + offset`, in pixels.
    """
    with tf.device("CPU:0"):
        place = placement(tf.constant(shape, tf.int32), preprocessing)
    return np.asarray(place.scale, np.float64), np.asarray(place.offset, np.float64)


def boxes_to_original(boxes: np.ndarray, shape: tuple[int, int], preprocessing: Preprocessing) -> np.ndarray:
    """Boxes on the model's input as boxes on the image that it was made of.

    Args:
        boxes: (..., 4): x0, y0, x1, y1 in pixels of the model's input.
        shape: height and width of the image in pixels.
        preprocessing: the record.

    Returns:
        (..., 4) float32 in pixels of the image, clipped to it.
    """
    scale, offset = placed(shape, preprocessing)
    corners = (np.asarray(boxes, np.float64) - np.tile(offset[::-1], 2)) / np.tile(scale[::-1], 2)
    return np.clip(corners, 0, np.tile(shape[::-1], 2)).astype(np.float32)


def resize(image: tf.Tensor, size: tuple[int, int], interpolation: str) -> tf.Tensor:
    """Antialiased resize without keeping the aspect ratio.

    Args:
        image: (H, W, C) of any numeric type, 0..255.
        size: (h, w) in pixels.
        interpolation: `"bicubic"` or `"bilinear"`.

    Returns:
        (h, w, C) float32 within 0..255.
    """
    height, channels = tf.shape(image)[0], image.shape[-1]
    # The kernel treats all that follows its first axis as one long pixel, in vectors; pixel by pixel along a row, as
    # it would otherwise, takes a third longer than turning the image twice. Rows that are turned first are still 8-bit.
    turned = _resize_first(tf.transpose(image, (1, 0, 2)), size[1], interpolation)
    upright = tf.transpose(tf.reshape(turned, (size[1], height, channels)), (1, 0, 2))
    resized = tf.reshape(_resize_first(upright, size[0], interpolation), (*size, channels))
    return tf.clip_by_value(resized, 0.0, 255.0)


def _resize_first(pixels: tf.Tensor, length: int, interpolation: str) -> tf.Tensor:
    """Resamples the first axis of (n, ...) to `length`: (1, length, 1, rest) float32."""
    lines = tf.reshape(pixels, (1, tf.shape(pixels)[0], 1, -1))
    return tf.raw_ops.ScaleAndTranslate(
        images=lines,
        size=(length, 1),
        scale=tf.stack([length / tf.cast(tf.shape(pixels)[0], tf.float32), 1.0]),
        translation=(0.0, 0.0),
        kernel_type=_KERNELS[interpolation],
        antialias=True,
    )


def _covering_shape(shape: tf.Tensor, target: tuple[int, int]) -> tf.Tensor:
    """(2,) int32: the height and width that cover `target` at the aspect ratio of `shape`."""
    if target[0] == target[1]:
        # torchvision cuts the longer side down to a whole number; the shorter one comes out exactly.
        return target[0] * shape // tf.reduce_min(shape)
    shape = tf.cast(shape, tf.float64)
    ratio = tf.reduce_min(shape / tf.constant(target, tf.float64))
    return tf.cast(tf.round(shape / ratio), tf.int32)


def _inside_shape(shape: tf.Tensor, target: tuple[int, int]) -> tf.Tensor:
    """(2,) int32: the height and width that fit into `target` at the aspect ratio of `shape`."""
    exact = tf.cast(shape, tf.float64)
    ratio = tf.reduce_min(tf.constant(target, tf.float64) / exact)
    return tf.clip_by_value(tf.cast(tf.round(exact * ratio), tf.int32), 1, target)


def _resample(pixels, axis, place, preprocessing):
    """Resizes one axis by the placement's scale and keeps the pixels that fall into the model's input."""
    size, scales, shifts = [tf.shape(pixels)[0], tf.shape(pixels)[1]], [1.0, 1.0], [0.0, 0.0]
    size[axis], scales[axis], shifts[axis] = preprocessing.image_size[axis], place.scale[axis], place.offset[axis]
    return scale_and_translate(pixels, size, scales, shifts, preprocessing.interpolation)


def scale_and_translate(pixels, size, scale, translation, interpolation: str) -> tf.Tensor:
    """Antialiased resampling of (H, W, C) float32: the part of a scaled and shifted image that falls into `size`.

    Pixels of `size` beyond the image are 0. Values may overshoot 0..255 with `"bicubic"`.
    """
    return tf.raw_ops.ScaleAndTranslate(
        images=pixels[None],
        size=tf.stack(size),
        scale=tf.stack(scale),
        translation=tf.stack(translation),
        kernel_type=_KERNELS[interpolation],
        antialias=True,
    )[0]

"""From an image of any size to the size that a model takes, as timm does it at evaluation."""

from __future__ import annotations

import math

import tensorflow as tf

from keras_vit.preprocessing import Preprocessing

# Pillow's bicubic is Keys' cubic with a = -0.5, its bilinear a triangle; both widen when shrinking.
_KERNELS = {"bicubic": "keyscubic", "bilinear": "triangle"}


def resize_and_crop(image: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """The evaluation view: the image is resized to cover size / crop and its centre is cut out, or squashed to size.

    `fit="crop"` follows timm's `transforms_imagenet_eval` with `crop_mode="center"`: for square sizes torchvision's
    `Resize` of the shorter side, for rectangles `ResizeKeepRatio`, then `CenterCrop`. One difference: for rectangles
    timm leaves its interpolation argument out and resizes bilinearly, here the record's interpolation is used.
    `fit="squash"` resizes each axis by itself to its size / crop: timm's `crop_mode="squash"`.

    Args:
        image: (H, W, C) uint8.
        preprocessing: the record; its image_size, crop, interpolation and fit are used.

    Returns:
        (h, w, C) float32, whole numbers 0..255 like the 8-bit image that Pillow would give.
    """
    height, width = preprocessing.image_size
    shape = tf.shape(image)[:2]
    target = tuple(math.floor(side / preprocessing.crop) for side in (height, width))
    resized = tf.constant(target) if preprocessing.fit == "squash" else _covering_shape(shape, target)
    margin = tf.cast(resized - [height, width], tf.float32)
    offset = tf.round(margin / 2)  # rounds halves to even, as Python does in torchvision
    scale = tf.cast(resized, tf.float32) / tf.cast(shape, tf.float32)
    pixels = tf.cast(image, tf.float32)
    # Pillow resizes the rows first (before version 13 always) and stores whole numbers in between.
    for axis in (1, 0):
        pixels = _resample(pixels, axis, preprocessing.image_size[axis], scale[axis], offset[axis], preprocessing)
        pixels = tf.clip_by_value(tf.floor(pixels + 0.5), 0.0, 255.0)
    pixels.set_shape((height, width, image.shape[-1]))
    return pixels


def resize(image: tf.Tensor, size: tuple[int, int], interpolation: str) -> tf.Tensor:
    """Antialiased resize without keeping the aspect ratio.

    Args:
        image: (H, W, C) of any numeric type, 0..255.
        size: (h, w) in pixels.
        interpolation: `"bicubic"` or `"bilinear"`.

    Returns:
        (h, w, C) float32 within 0..255.
    """
    resized = tf.image.resize(image, size, method=interpolation, antialias=True)
    return tf.clip_by_value(resized, 0.0, 255.0)


def _covering_shape(shape: tf.Tensor, target: tuple[int, int]) -> tf.Tensor:
    """(2,) int32: the height and width that cover `target` at the aspect ratio of `shape`."""
    if target[0] == target[1]:
        # torchvision cuts the longer side down to a whole number; the shorter one comes out exactly.
        return target[0] * shape // tf.reduce_min(shape)
    shape = tf.cast(shape, tf.float64)
    ratio = tf.reduce_min(shape / tf.constant(target, tf.float64))
    return tf.cast(tf.round(shape / ratio), tf.int32)


def _resample(pixels, axis, length, scale, offset, preprocessing):
    """Resizes one axis by `scale` and keeps `length` pixels from `offset` on."""
    size, scales, shifts = [tf.shape(pixels)[0], tf.shape(pixels)[1]], [1.0, 1.0], [0.0, 0.0]
    size[axis], scales[axis], shifts[axis] = length, scale, -offset
    return tf.raw_ops.ScaleAndTranslate(
        images=pixels[None],
        size=tf.stack(size),
        scale=tf.stack(scales),
        translation=tf.stack(shifts),
        kernel_type=_KERNELS[preprocessing.interpolation],
        antialias=True,
    )[0]

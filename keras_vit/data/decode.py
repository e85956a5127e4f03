"""From the bytes of an image file to upright 8-bit pixels, in TensorFlow ops only.

The same function runs in the pre-flight check, in tf.data and inside the exported SavedModel.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from keras_vit.data import exif

_JPEG = b"\xff\xd8\xff"
# libjpeg smooths colour across the borders of its blocks, of up to 32 pixels: with one more block on each side the
# pixels of a part are those of the whole image.
_BLOCK = 32


def decode(encoded: tf.Tensor, channels: int = 3) -> tf.Tensor:
    """Decodes JPEG, PNG, WebP, BMP or GIF (first frame) like Pillow's `convert("RGB")`.

    Alpha is dropped, palettes are looked up, 16-bit PNGs keep their high byte, CMYK becomes RGB, and the EXIF
    orientation of a JPEG is undone.

    Args:
        encoded: scalar string, a whole file.
        channels: 3 for RGB, 1 for grey.

    Returns:
        (H, W, channels) uint8.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no whole image of these formats.
    """

    def starts(magic):
        return tf.strings.substr(encoded, 0, len(magic)) == magic

    image = tf.case(
        [
            (starts(_JPEG), lambda: _decode_jpeg(encoded)),
            (starts(b"RIFF"), lambda: tf.io.decode_webp(encoded)[0, :, :, :3]),
            (starts(b"BM"), lambda: _decode_bmp(encoded)),
        ],
        default=lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    image.set_shape((None, None, 3))
    return to_channels(image, channels)


def decode_part(encoded: tf.Tensor, choose: Callable, channels: int = 3) -> tf.Tensor:
    """`decode(encoded)` cut to a box, without decoding the rest of a JPEG; the pixels are the same.

    Args:
        encoded: scalar string, a whole file.
        choose: from the upright image's (2,) int32 height and width to the box: (2,) int32 first row and column, and
            (2,) int32 height and width.
        channels: 3 for RGB, 1 for grey.

    Returns:
        (h, w, channels) uint8.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no image of the formats that `decode` reads.
    """

    def other():
        image = decode(encoded, channels)
        begin, size = choose(tf.shape(image)[:2])
        return tf.slice(image, tf.concat([begin, [0]], 0), tf.concat([size, [channels]], 0))

    is_jpeg = tf.strings.substr(encoded, 0, len(_JPEG)) == _JPEG
    part = tf.cond(is_jpeg, lambda: to_channels(_decode_jpeg_part(encoded, choose), channels), other)
    return tf.ensure_shape(part, (None, None, channels))


def to_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Grey to RGB, RGB to grey, or alpha dropped.

    Args:
        image: (..., c) uint8 with c = 1, 3 or 4.
        channels: 1 or 3.

    Returns:
        (..., channels) uint8; grey is Pillow's ITU-R 601-2 luma in its 16-bit fixed point.
    """
    image = image[..., :3]
    if image.shape[-1] == channels:
        return image
    if channels == 3:
        return tf.repeat(image, 3, axis=-1)
    luma = tf.reduce_sum(tf.cast(image, tf.int32) * [19595, 38470, 7471], -1, keepdims=True)
    return tf.cast((luma + 0x8000) // 0x10000, tf.uint8)


def _decode_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    # Pillow decodes with the accurate inverse DCT; TensorFlow's default is a faster one that differs by up to 4.
    image = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    return exif.upright(image, exif.orientation(encoded))


def _decode_jpeg_part(encoded: tf.Tensor, choose: Callable) -> tf.Tensor:
    stored = tf.io.extract_jpeg_shape(encoded)[:2]
    orientation = exif.orientation(encoded)
    shape = tf.where(exif.swapped(orientation), stored[::-1], stored)
    begin, size = exif.stored_box(*choose(shape), shape, orientation)
    first = tf.maximum(begin[1] - _BLOCK, 0)
    last = tf.minimum(begin[1] + size[1] + _BLOCK, stored[1])
    window = tf.stack([begin[0], first, size[0], last - first])
    wide = tf.io.decode_and_crop_jpeg(encoded, window, channels=3, dct_method="INTEGER_ACCURATE")
    part = tf.slice(wide, [0, begin[1] - first, 0], [size[0], size[1], 3])
    return exif.upright(part, orientation)


def _decode_bmp(encoded: tf.Tensor) -> tf.Tensor:
    """BMP of 8 bits (with its palette, which TensorFlow ignores), 24 or 32 bits."""
    image = tf.io.decode_bmp(encoded)

    def number(at):
        return tf.io.decode_raw(tf.strings.substr(encoded, at, 4), tf.int32)[0]

    def look_up():
        palette_at, pixels_at = 14 + number(14), number(10)
        colours = tf.io.decode_raw(tf.strings.substr(encoded, palette_at, pixels_at - palette_at), tf.uint8)
        blue_green_red = tf.reshape(colours, (-1, 4))[:, :3]
        return tf.gather(blue_green_red[:, ::-1], tf.cast(image[..., 0], tf.int32))

    return tf.cond(tf.shape(image)[-1] == 1, look_up, lambda: image[..., :3])

"""From the bytes of an image file to upright 8-bit pixels, in TensorFlow ops only.

The same function runs in the pre-flight check, in tf.data and inside the exported SavedModel.
"""

from __future__ import annotations

import tensorflow as tf

from keras_vit.data import exif


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
            (starts(b"\xff\xd8\xff"), lambda: _decode_jpeg(encoded)),
            (starts(b"RIFF"), lambda: tf.io.decode_webp(encoded)[0, :, :, :3]),
            (starts(b"BM"), lambda: _decode_bmp(encoded)),
        ],
        default=lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    image.set_shape((None, None, 3))
    return to_channels(image, channels)


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

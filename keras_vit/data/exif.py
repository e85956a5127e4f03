"""The EXIF orientation of a JPEG, read and undone with TensorFlow ops, so that it also works inside an export."""

from __future__ import annotations

import tensorflow as tf

# Orientation 1..8 as (swap rows and columns first, axes to reverse then): CIPA DC-008, tag 0x0112.
_UNDO = (
    (False, []),
    (False, [1]),
    (False, [0, 1]),
    (False, [0]),
    (True, []),
    (True, [1]),
    (True, [0, 1]),
    (True, [0]),
)
_ORIENTATION_TAG = 0x0112
_HEAD = 1 << 17  # an APP1 segment ends within 64 KB of its start, and only APPn segments stand before it
_PADDING = 16  # so that slices of a damaged header stay inside the vector


def orientation(encoded: tf.Tensor) -> tf.Tensor:
    """The EXIF orientation of an encoded JPEG.

    Args:
        encoded: scalar string, a whole JPEG file.

    Returns:
        Scalar int32 1..8; 1 (as stored) when there is no EXIF or it is damaged.

    Raises:
        tf.errors.InvalidArgumentError: the file is shorter than any JPEG.
    """
    # Most files have a JFIF segment, or nothing, before the tables: then one look at the next marker is enough.
    jfif = tf.strings.substr(encoded, 2, 4) == b"\xff\xe0\x00\x10"
    marker = tf.io.decode_raw(tf.strings.substr(encoded, tf.where(jfif, 21, 3), 1), tf.uint8)[0]
    return tf.cond(_is_application(marker), lambda: _walk(encoded), lambda: tf.constant(1))


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns an image as its EXIF orientation asks, like `PIL.ImageOps.exif_transpose`.

    Args:
        image: (H, W, C) as stored.
        orientation: scalar int32 1..8.

    Returns:
        (H, W, C), or (W, H, C) for orientations 5 to 8.
    """

    def undo(swap, axes):
        turned = tf.transpose(image, (1, 0, 2)) if swap else image
        return tf.reverse(turned, axes) if axes else turned

    branches = [lambda row=row: undo(*row) for row in _UNDO]
    return tf.switch_case(orientation - 1, branches)


def swapped(orientation: tf.Tensor) -> tf.Tensor:
    """Whether an image of this orientation lies on its side: scalar bool."""
    return orientation >= 5


def stored_box(begin: tf.Tensor, size: tf.Tensor, shape: tf.Tensor, orientation: tf.Tensor) -> tuple:
    """Where a part of the upright image is in the image as stored.

    Args:
        begin, size: (2,) int32, first row and column of the part and its height and width, upright.
        shape: (2,) int32, height and width of the whole image, upright.
        orientation: scalar int32 1..8.

    Returns:
        begin and size in the stored image.
    """
    reversed_axes = tf.constant([[0 in axes, 1 in axes] for _, axes in _UNDO])
    begin = tf.where(tf.gather(reversed_axes, orientation - 1), shape - begin - size, begin)
    side = swapped(orientation)
    return tf.where(side, begin[::-1], begin), tf.where(side, size[::-1], size)


def _is_application(marker: tf.Tensor) -> tf.Tensor:
    """Whether a segment's marker byte is APPn or a comment, which may stand before EXIF."""
    return ((marker >= 0xE0) & (marker <= 0xEF)) | (marker == 0xFE)


def _walk(encoded: tf.Tensor) -> tf.Tensor:
    """The orientation, by going from segment to segment until one is EXIF."""
    head = tf.pad(tf.io.decode_raw(tf.strings.substr(encoded, 0, _HEAD), tf.uint8), [[0, _PADDING]])
    end = tf.size(head) - _PADDING

    def is_exif(at):
        return tf.reduce_all(tf.concat([head[at : at + 2], head[at + 4 : at + 10]], 0) == list(b"\xff\xe1Exif\0\0"))

    def before_exif(at):
        return (at < end) & (head[at] == 0xFF) & _is_application(head[at + 1]) & ~is_exif(at)

    def skip(at):
        return [tf.minimum(at + 2 + _number(head[at + 2 : at + 4], 2, False), end)]

    [at] = tf.while_loop(before_exif, skip, [tf.constant(2)])
    return tf.cond(is_exif(at), lambda: _tiff_orientation(head[at + 10 :]), lambda: tf.constant(1))


def _tiff_orientation(tiff: tf.Tensor) -> tf.Tensor:
    """The orientation in the first directory of a TIFF header (uint8 vector), or 1."""
    little = tiff[0] == ord("I")
    size = tf.size(tiff)
    directory = tf.clip_by_value(_number(tiff[4:8], 4, little), 0, size - 2)
    entries = tf.minimum(_number(tiff[directory : directory + 2], 2, little), (size - directory - 2) // 12)
    table = tf.reshape(tiff[directory + 2 : directory + 2 + 12 * entries], (-1, 12))
    is_orientation = _number(table[:, 0:2], 2, little) == _ORIENTATION_TAG
    # The first match wins; the appended 1 answers when there is none.
    values = tf.concat([tf.boolean_mask(_number(table[:, 8:10], 2, little), is_orientation), [1]], 0)
    return tf.where((values[0] >= 1) & (values[0] <= 8), values[0], 1)


def _number(raw: tf.Tensor, width: int, little: tf.Tensor | bool) -> tf.Tensor:
    """Unsigned numbers from their bytes (..., width) in little or big byte order, as int32 (...)."""
    raw = tf.cast(raw, tf.int32)
    ordered = tf.where(little, tf.reverse(raw, [-1]), raw)
    return tf.reduce_sum(ordered * [256**i for i in reversed(range(width))], -1)

"""From what a browser sends to pixels: a photo's header is looked at before anything is decoded."""

from __future__ import annotations

import io
from http import HTTPStatus

import numpy as np
import tensorflow as tf

from keras_vit.data.decode import decode
from keras_vit.demo.refused import Refused

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
"""What Pillow is asked to recognise: those that `decode` reads, and none of its many others."""

LONGEST = 32
"""Longer sides, in shorter ones, are refused: fitted to a shorter side, such a picture would be huge."""


def read_photo(content: bytes, max_pixels: int) -> np.ndarray:
    """Decodes a photo as `decode` does, if its header promises no more pixels than are allowed.

    Args:
        content: a whole JPEG, PNG, WebP, BMP or GIF (first frame) file.
        max_pixels: height times width at most.

    Returns:
        (H, W, 3) uint8, upright.

    Raises:
        Refused: no such file, a damaged one, or one of too many pixels or too long a shape.
    """
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError:
        raise _too_large(max_pixels) from None
    except Exception:  # each format's reader has its own kinds
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "This cannot be read as a photo: give a whole JPEG, PNG, WebP, BMP or GIF file.",
        ) from None
    with image:
        width, height = image.size
        if height * width > max_pixels:
            raise _too_large(max_pixels, height, width)
        if max(height, width) > LONGEST * min(height, width):
            raise Refused(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"The photo is {width} x {height} pixels, longer than {LONGEST} times its width: cut a part out of it.",
            )
        try:
            # TensorFlow unpacks every frame of these before it drops all but the first.
            if image.format == "GIF" or (image.format == "WEBP" and image.is_animated):
                return np.asarray(image.convert("RGB"))
            with tf.device("CPU:0"):
                return decode(tf.constant(content)).numpy()
        except MemoryError:
            raise
        except Exception:
            raise Refused(
                HTTPStatus.UNPROCESSABLE_ENTITY, "The photo is damaged or not whole: save or copy it again."
            ) from None


def _too_large(max_pixels: int, height: int = 0, width: int = 0) -> Refused:
    found = f"{height * width / 1e6:.0f} million pixels" if height else "too many pixels"
    return Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The photo has {found}, and {max_pixels / 1e6:g} million are allowed: make it smaller, or start the demo with "
        "a larger --max-megapixels.",
    )

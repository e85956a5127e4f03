"""The size of an encoded image, from its header alone."""

from __future__ import annotations

import io
from pathlib import Path

_ORIENTATION_TAG = 0x0112


def image_size(encoded: str | Path | bytes) -> tuple[int, int]:
    """Height and width of the upright image in a file or in a file's bytes; (0, 0) where that cannot be read."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded) as image:
            width, height = image.size
            # From 5 on the image lies on its side; only a JPEG's orientation is undone when it is decoded.
            on_side = image.format == "JPEG" and image.getexif().get(_ORIENTATION_TAG, 1) in (5, 6, 7, 8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return 0, 0
    return (width, height) if on_side else (height, width)

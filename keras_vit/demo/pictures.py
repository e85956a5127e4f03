"""Pictures as a page shows them: no larger than a screen, within the answer itself."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

SIDE = 1280
"""Pixels of the longer side, at most."""


def shrunk(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The image (H, W, 1 or 3) uint8, smaller where its longer side is longer than that."""
    height, width = image.shape[:2]
    if max(height, width) <= side:
        return image
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS)).reshape(size[1], size[0], image.shape[-1])


def data_url(image: np.ndarray) -> str:
    """A picture (H, W, 3) uint8 as a JPEG within a `data:` URL; colours keep their full resolution, for words and
    edges."""
    buffer = io.BytesIO()
    Image.fromarray(shrunk(image)).save(buffer, "JPEG", quality=90, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

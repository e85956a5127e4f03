"""Pictures that commands write, one for each image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def picture_names(files: Sequence[str]) -> list[str]:
    """A picture's name for each image: its own, with a number where two images in different folders share one."""
    taken: dict[str, int] = {}
    names = []
    for file in files:
        stem = Path(file).stem
        taken[stem] = taken.get(stem, 0) + 1
        names.append(f"{stem}.png" if taken[stem] == 1 else f"{stem}_{taken[stem]}.png")
    return names


def write_picture(pixels: np.ndarray, path: Path) -> None:
    """Writes (H, W, 3) uint8 as a PNG, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    from PIL import Image

    from keras_vit.files import atomic

    with atomic(path) as temporary:
        Image.fromarray(pixels).save(temporary)

"""Masks: the class of every pixel, kept on disk until it is asked for."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from keras_vit.errors import InputError

IGNORE = -1
"""The class of pixels that belong to no class: they are neither learned nor judged."""
VOID = 255
"""The raw value that is ignored in every mask, by the field's custom."""
_UNKNOWN = -2
_DEPTH_AT, _KIND_AT, _GREY = 24, 25, 0  # of a PNG's header: bits per value, and whether it is grey


@dataclass(frozen=True, eq=False)
class Masks:
    """The masks of n images.

    Attributes:
        stored: a sequence of which each item is one mask: the path of a file, an encoded file (bytes), or an (H, W)
            array of whole numbers. Files are PNGs of one channel, 1 to 16 bits grey or with a palette, whose indices
            count and not its colours.
        classes: raw value -> class, from 0, or IGNORE; a value that is missing is an error.
        chosen: (n,) int64, which items of `stored` are meant, in order.
    """

    stored: Sequence[str | bytes | np.ndarray]
    classes: Mapping[int, int]
    chosen: np.ndarray | None = None

    def __post_init__(self):
        if self.chosen is None:
            object.__setattr__(self, "chosen", np.arange(len(self.stored)))

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, indices: np.ndarray) -> Masks:
        return dataclasses.replace(self, chosen=self.chosen[np.asarray(indices, np.int64)])

    def raw(self, index: int) -> np.ndarray:
        """(H, W) int32, the numbers that are stored.

        Raises:
            InputError: no readable mask of one channel.
        """
        stored = self.stored[int(self.chosen[index])]
        return stored.astype(np.int32) if isinstance(stored, np.ndarray) else decode_mask(_content(stored))

    def read(self, index: int) -> np.ndarray:
        """One mask.

        Returns:
            (H, W) int32, the class of each pixel or IGNORE.

        Raises:
            InputError: no readable mask of one channel, or a value in it that is no class.
        """
        raw, last = self.raw(index), len(self._table) - 1
        mask = self._table[np.where(raw < 0, last, np.minimum(raw, last))]
        unknown = raw[mask == _UNKNOWN]
        if unknown.size:
            number = max(self.classes.values(), default=IGNORE) + 1
            raise InputError(f"the mask has the value {unknown[0]}, which is none of the {number} classes")
        return mask

    @cached_property
    def _table(self) -> np.ndarray:
        """The class of every raw value; the last entry stands for all that are higher, and is unknown."""
        table = np.full(max(self.classes) + 2, _UNKNOWN, np.int32)
        table[list(self.classes)] = list(self.classes.values())
        return table

    def counts(self, class_names: list[str]) -> dict[str, int]:
        """The number of images: which classes are in them, only reading them all would tell."""
        return {"images": len(self)}

    def digest(self, index: int) -> str:
        """A hash of the stored mask and of what its values mean."""
        stored = self.stored[int(self.chosen[index])]
        content = stored.tobytes() if isinstance(stored, np.ndarray) else _content(stored)
        meaning = repr(sorted(self.classes.items())).encode()
        return hashlib.blake2b(content + meaning, digest_size=16).hexdigest()

    def renumbered(self, lookup: np.ndarray) -> Masks:
        """The same masks with class i called `lookup[i]`."""
        classes = {value: IGNORE if c == IGNORE else int(lookup[c]) for value, c in self.classes.items()}
        return dataclasses.replace(self, classes=classes)


def decode_mask(content: bytes) -> np.ndarray:
    """The values of a mask's file.

    Args:
        content: a whole PNG (or another lossless file that Pillow reads).

    Returns:
        (H, W) int32.

    Raises:
        InputError: damaged, lossy, or of several channels.
    """
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except Image.UnidentifiedImageError as error:
        raise InputError("the mask cannot be read: it is damaged, or no PNG") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"the mask cannot be read: {error}") from error
    if image.format in ("JPEG", "WEBP"):
        raise InputError(f"the mask is a {image.format}, which does not keep values exactly: save it as PNG")
    values = np.asarray(image)
    if values.ndim != 2 or not (np.issubdtype(values.dtype, np.integer) or values.dtype == bool):
        raise InputError(f"the mask is a picture of mode {image.mode}: save class numbers as a grey or palette PNG")
    if image.format == "PNG" and content[_KIND_AT] == _GREY and content[_DEPTH_AT] in (2, 4):
        # Pillow spreads the values of such files over 0..255.
        values = values // (255 // (2 ** content[_DEPTH_AT] - 1))
    return values.astype(np.int32)


def _content(stored: str | bytes) -> bytes:
    if isinstance(stored, bytes):
        return stored
    try:
        return Path(stored).read_bytes()
    except OSError as error:
        raise InputError(f"the mask cannot be read: {error.strerror or error}") from error

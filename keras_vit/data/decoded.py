"""Decoded images kept in memory or on the disk, so that later epochs need not decode them again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_vit.data.decode import decode
from keras_vit.data.examples import Examples
from keras_vit.data.image_size import image_size
from keras_vit.data.threads import in_threads
from keras_vit.errors import InputError
from keras_vit.files import PARTIAL, atomic
from keras_vit.weights.cache import cache_folder

CACHES = ("none", "memory", "disk")
_FORMAT = "keras_vit-pixels-1"
_SHARE = 0.5  # of the memory that is available: the model needs the rest
_SPARE = 2**30  # bytes of the disk that are left free
_STALE_S = 3600.0  # a part that nobody has written to for so long belongs to a process that was killed


class Decoded:
    """The pixels of a split, image by image.

    Args:
        images: (H, W, channels) uint8 each, all with the same channels; they may lie in a file.
        channels: 1 or 3.
    """

    def __init__(self, images: list[np.ndarray], channels: int):
        self.images, self.channels = images, channels
        self.shapes = np.array([image.shape[:2] for image in images], np.int32).reshape(-1, 2)

    def part(self, index: int, begin: np.ndarray, size: np.ndarray) -> np.ndarray:
        """A copy of the box of image `index` that starts at row and column `begin` and has height and width `size`."""
        (top, left), (height, width) = begin, size
        return np.ascontiguousarray(self.images[int(index)][top : top + height, left : left + width])


def decode_all(
    examples: Examples, channels: int, where: str, *, size: int | None = None, progress: bool = True
) -> Decoded | None:
    """Decodes a split once.

    The file on the disk lies under `KERAS_VIT_HOME`, or `~/.cache/keras_vit`, in `pixels`. It is named after the
    images' bytes, their order and what is done to them, appears whole or not at all, and is used by later runs.

    Args:
        examples: checked images; what came as an array is decoded already.
        channels: 3 or 1.
        where: `memory`, `disk` or `none`.
        size: larger images are shrunk until their shorter side has so many pixels (antialiased, bicubic, rounded to 8
            bits); None keeps their size and every pixel.
        progress: show a bar when it takes longer than a second.

    Returns:
        The pixels; None, with a printed note, where they do not fit; None for `none` and for arrays.

    Raises:
        tf.errors.OpError: an image cannot be read or decoded any more.
    """
    if where == "none" or examples.images is not None:
        return None
    file = cache_folder() / "pixels" / f"{_key(examples, channels, size)}.pixels" if where == "disk" else None
    if file and (found := _read(file, len(examples), channels)):
        return found
    needed = _needed(examples, channels, size)
    room = _disk_room(file.parent) if file else _memory_room()
    if room is not None and needed > room:
        return _too_large(f"{needed / 1e9:.1f} GB are needed and {room / 1e9:.1f} GB may be taken", where)
    if file is None:
        return Decoded(list(_decoded(examples, channels, size, progress)), channels)
    try:
        _write(file, _decoded(examples, channels, size, progress))
    except InputError as error:
        return _too_large(str(error), where)
    return _read(file, len(examples), channels)


def _too_large(reason: str, where: str) -> None:
    print(f"Images are not cached (data.cache={where}): {reason}. Training decodes them anew in each epoch.")


def _decoded(examples: Examples, channels: int, size: int | None, progress: bool) -> Iterator[np.ndarray]:
    def work(chunk):
        with tf.device("CPU:0"):
            return [_shrunk(decode(tf.constant(_raw(examples, index)), channels), size).numpy() for index in chunk]

    return in_threads(work, range(len(examples)), "Decoding images", progress)


def _raw(examples: Examples, index: int) -> bytes:
    """An error of reading is TensorFlow's, as in the pipeline: one of Python's would be taken for the cache's own."""
    try:
        return examples.raw(index)
    except OSError as error:
        raise tf.errors.NotFoundError(None, None, f"{examples.names[index]}: {error}") from error


def _shrunk(image: tf.Tensor, size: int | None) -> tf.Tensor:
    height, width = _shrunk_shape(*image.shape[:2], size)
    if (height, width) == tuple(image.shape[:2]):
        return image
    smaller = tf.image.resize(image, (height, width), method="bicubic", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(smaller), 0.0, 255.0), tf.uint8)


def _shrunk_shape(height: int, width: int, size: int | None) -> tuple[int, int]:
    shorter = min(height, width)
    if size is None or shorter <= size:
        return height, width
    return round(height * size / shorter), round(width * size / shorter)


def _needed(examples: Examples, channels: int, size: int | None) -> int:
    """Bytes of all pixels, by the files' headers."""
    sources = examples.paths or examples.encoded
    sizes = in_threads(lambda chunk: [image_size(sources[i]) for i in chunk], range(len(examples)), "Measuring images")
    shapes = (_shrunk_shape(*found, size) if all(found) else found for found in sizes)
    return channels * sum(height * width for height, width in shapes)


def _memory_room() -> int | None:
    """Bytes that may be taken, None where the system does not say what is available."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return None
    return int(_SHARE * available)


def _disk_room(folder: Path) -> int:
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    return max(0, shutil.disk_usage(there).free - _SPARE)


def _key(examples: Examples, channels: int, size: int | None) -> str:
    described = [_FORMAT, str(channels), str(size), *examples.digests]
    return hashlib.sha256("\n".join(described).encode()).hexdigest()[:32]


def _write(file: Path, images: Iterator[np.ndarray]) -> None:
    """The pixels of all images, one after the other, and then their heights and widths."""
    _remove_stale(file)
    shapes = []
    with atomic(file) as temporary, temporary.open("wb") as out:
        for image in images:
            out.write(image.tobytes())
            shapes.append(image.shape[:2])
        out.write(np.array(shapes, "<i4").tobytes())
        out.flush()
        os.fsync(out.fileno())


def _read(file: Path, count: int, channels: int) -> Decoded | None:
    """What `_write` wrote; None where there is nothing, or not as much as there should be."""
    try:
        content = np.memmap(file, np.uint8, "r")
    except (OSError, ValueError):  # missing; empty
        return None
    table = 8 * count
    if len(content) < table:
        return None
    shapes = np.frombuffer(content[len(content) - table :].tobytes(), "<i4").reshape(-1, 2).astype(np.int64)
    ends = np.cumsum(shapes.prod(1) * channels)
    if (shapes < 1).any() or ends[-1] + table != len(content):
        return None
    starts = [0, *ends[:-1].tolist()]
    views = [
        content[start:end].reshape(*shape, channels)
        for start, end, shape in zip(starts, ends.tolist(), shapes.tolist(), strict=True)
    ]
    return Decoded(views, channels)


def _remove_stale(file: Path) -> None:
    """Parts of the same cache that a killed process left."""
    for part in file.parent.glob(f"{PARTIAL}*-{file.name}"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE_S:
                part.unlink()

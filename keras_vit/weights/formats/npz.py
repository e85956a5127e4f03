"""`.npz` archives, as Google publishes them: names and shapes at once, arrays one at a time."""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import ml_dtypes
import numpy as np

from keras_vit.errors import InputError
from keras_vit.weights.formats.checkpoint import Checkpoint
from keras_vit.weights.formats.values import UNUSABLE, reason

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
DAMAGED = (*UNUSABLE, zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError)
"""What `zipfile` and numpy raise for bytes that are not what they should be (encrypted or exotic archives as well)."""
LARGEST_HEADER = 1 << 16
"""Bytes of an array's header that are looked at; a member of the archive may become gigabytes."""
LARGEST_RATIO = 1032
"""How many bytes one byte of a deflated stream can become at most."""
BFLOAT16 = np.dtype("V2")
"""numpy has no name for bfloat16, so that big_vision's arrays are stored as two bytes of nothing known."""


def open_npz(path: Path) -> Checkpoint:
    """Opens an `.npz` archive. Arrays of objects are refused, as they would have to be unpickled.

    Raises:
        InputError: the archive is damaged, or it holds something else than arrays of numbers. Damage within an array
            is found by its checksum when it is read.
    """
    try:
        # Open as long as the checkpoint is: its directory takes longer to read than an array.
        archive = zipfile.ZipFile(path)
        members = {_name(info): info for info in archive.infolist()}
        shapes = {name: _shape(archive, name, info) for name, info in members.items()}
    except DAMAGED as error:
        raise _unreadable(path, error) from None

    def read(name: str) -> np.ndarray:
        try:
            with archive.open(members[name]) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
        except DAMAGED as error:
            raise _unreadable(path, error) from None
        return array.view(ml_dtypes.bfloat16) if array.dtype == BFLOAT16 else array

    return Checkpoint(path, shapes, read)


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} is not a readable .npz file of arrays ({reason(error)}): fetch it again, or save it anew."
    )


def _name(info: zipfile.ZipInfo) -> str:
    path = PurePosixPath(info.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in info.filename:
        raise ValueError(f"it has a member {info.filename!r} that points out of the archive")
    if path.suffix != ".npy":
        raise ValueError(f"{info.filename!r} is not an array")
    return info.filename.removesuffix(".npy")


def _shape(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> tuple[int, ...]:
    """Reads the header of one array, and whether the member can hold what it says."""
    with archive.open(info) as file:
        head = io.BytesIO(file.read(LARGEST_HEADER))
    version = np.lib.format.read_magic(head)
    if version not in HEADERS:
        raise ValueError(f"{name} has the header version {version}")
    shape, _, dtype = HEADERS[version](head)
    begin = head.tell()
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which are never unpickled")
    if dtype.kind not in "biuf" and dtype != BFLOAT16:
        raise ValueError(f"{name} has the type {dtype}, which no ViT has")
    told = begin + math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or told != info.file_size or told > LARGEST_RATIO * info.compress_size:
        raise ValueError(f"{name} is said to have the shape {shape}, which does not lie within the file")
    return shape

"""`.safetensors` files: names and shapes at once, arrays one at a time."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from keras_vit.errors import InputError
from keras_vit.weights.formats.checkpoint import Checkpoint
from keras_vit.weights.formats.plain import plain_reader
from keras_vit.weights.formats.values import UNUSABLE, reason

SAFETENSORS_TYPES = {
    "F64": np.dtype("float64"),
    "F32": np.dtype("float32"),
    "F16": np.dtype("float16"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("int64"),
    "I32": np.dtype("int32"),
    "I16": np.dtype("int16"),
    "I8": np.dtype("int8"),
    "U8": np.dtype("uint8"),
    "BOOL": np.dtype("bool"),
}
LARGEST_HEADER = 10_000_000
"""Bytes. The largest ViT takes a hundredth; parsed, a header takes up to thirty times its length in memory."""

Entry = tuple[np.dtype, tuple[int, ...], int]


def open_safetensors(path: Path) -> Checkpoint:
    """Opens a `.safetensors` file.

    Raises:
        InputError: the file is truncated, or its header is not one.
    """
    size = path.stat().st_size
    read_plain = plain_reader(path)
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(LARGEST_HEADER, size - 8):
                raise ValueError("its header is longer than the file, or than any header")
            header = json.loads(file.read(length))
        begin = 8 + length
        metadata = _metadata(header.pop("__metadata__", None))
        entries = _entries(header, size - begin)
    except UNUSABLE as error:
        raise InputError(f"{path} is not a readable safetensors file ({reason(error)}): fetch it again.") from None

    def read(name: str) -> np.ndarray:
        dtype, shape, offset = entries[name]
        return read_plain(dtype, shape, begin + offset)

    return Checkpoint(path, {name: shape for name, (_, shape, _) in entries.items()}, read, metadata)


def _metadata(said: Any) -> dict[str, str]:
    said = {} if said is None else said
    if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
        raise ValueError("its metadata is not text")
    return said


def _entries(header: dict[str, dict], available: int) -> dict[str, Entry]:
    """Name -> type, shape and offset. The format wants arrays that lie one behind the other and fill the file."""
    entries, spans = {}, []
    for name, value in header.items():
        dtype, shape = SAFETENSORS_TYPES.get(value["dtype"]), tuple(value["shape"])
        begin, end = value["data_offsets"]
        if dtype is None:
            raise ValueError(f"{name} has the type {value['dtype']}, which no ViT has")
        if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
            raise ValueError(f"{name} has the shape {shape} at {begin}")
        if end - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{name} has another size than its shape {shape} says")
        entries[name] = dtype, shape, begin
        spans.append((begin, end))
    filled = 0
    for begin, end in sorted(spans):
        if begin != filled:
            raise ValueError("its arrays overlap or leave gaps")
        filled = end
    if filled != available:
        raise ValueError(f"its arrays take {filled} bytes, and the file has {available} for them")
    return entries

"""`.safetensors` files: names and shapes at once, arrays one at a time."""

from __future__ import annotations

import json
import math
from pathlib import Path

import ml_dtypes
import numpy as np

from keras_vit.errors import InputError
from keras_vit.weights.formats.checkpoint import Checkpoint

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
LARGEST_HEADER = 100_000_000
"""Bytes; the same bound as in the safetensors library."""


def open_safetensors(path: Path) -> Checkpoint:
    """Opens a `.safetensors` file.

    Arrays are read with plain reads rather than mapped into memory: mapped pages stay resident, so that a model and
    its file would both be held.

    Raises:
        InputError: the file is truncated, or its header is not one.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(LARGEST_HEADER, size - 8):
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", None) or {}
        begin = 8 + length
        entries = {name: _entry(name, value, size - begin) for name, value in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is not a readable safetensors file ({error}): fetch it again.") from None

    def read(name: str) -> np.ndarray:
        dtype, shape, offset = entries[name]
        array = np.fromfile(path, dtype, count=math.prod(shape), offset=begin + offset)
        return array.reshape(shape)

    return Checkpoint(path, {name: shape for name, (_, shape, _) in entries.items()}, read, metadata)


def _entry(name: str, value: dict, available: int) -> tuple[np.dtype, tuple[int, ...], int]:
    dtype, shape = SAFETENSORS_TYPES.get(value["dtype"]), tuple(value["shape"])
    begin, end = value["data_offsets"]
    if dtype is None:
        raise ValueError(f"{name} has the type {value['dtype']}, which no ViT has")
    if not all(isinstance(side, int) and side >= 0 for side in shape):
        raise ValueError(f"{name} has the shape {shape}")
    if not 0 <= begin <= end <= available or end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} does not lie within the file")
    return dtype, shape, begin

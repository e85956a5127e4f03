"""Arrays that lie in a file as they lie in memory."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_vit.errors import Failure

PlainReader = Callable[[np.dtype, tuple[int, ...], int], np.ndarray]


def plain_reader(path: Path) -> PlainReader:
    """A function that reads an array of a type and shape at an offset, as long as the file stays what it is now.

    Arrays are read with plain reads rather than mapped into memory: mapped pages stay resident, so that a model and
    its file would both be held.

    The function raises:
        Failure: the file was replaced or written to since, so that offsets mean nothing any more; or the disk fails.
    """
    as_opened = _identity(path.stat())

    def read(dtype: np.dtype, shape: tuple[int, ...], offset: int) -> np.ndarray:
        count = math.prod(shape)
        try:
            with path.open("rb") as file:
                unchanged = _identity(os.fstat(file.fileno())) == as_opened
                array = np.fromfile(file, dtype, count=count, offset=offset) if unchanged else None
        except OSError as error:
            raise Failure(f"{path} cannot be read to its end ({error.strerror or error}): check the disk.") from error
        if array is None or array.size != count:
            raise Failure(f"{path} was changed while it was read: load it again when nobody writes to it.")
        return array.reshape(shape)

    return read


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns

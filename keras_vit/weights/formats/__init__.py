"""Files that weights lie in: opened without reading the arrays, and without executing anything in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from keras_vit.errors import Failure, InputError
from keras_vit.weights.formats.checkpoint import Checkpoint
from keras_vit.weights.formats.folder import open_folder
from keras_vit.weights.formats.keras_file import open_keras
from keras_vit.weights.formats.npz import open_npz
from keras_vit.weights.formats.safetensors import open_safetensors
from keras_vit.weights.formats.torch_file import open_torch

FORMATS: dict[str, Callable[[Path], Checkpoint]] = {
    ".safetensors": open_safetensors,
    ".keras": open_keras,
    ".npz": open_npz,
    ".pth": open_torch,
    ".pt": open_torch,
    ".bin": open_torch,
    ".tar": open_torch,  # releases called `.pth.tar` are no archives
}
"""File ending -> what opens it."""


def open_checkpoint(path: Path) -> Checkpoint:
    """Opens a weights file, or the weights in a folder.

    Raises:
        InputError: it is missing, may not be read, is of no known kind, or damaged.
        Failure: memory ran out.
    """
    try:
        if path.is_dir():
            return open_folder(path, FORMATS)
        if path.suffix not in FORMATS:
            raise InputError(f"Weights are read from {', '.join(FORMATS)} files, not from {path.name}.")
        # Opening a pipe would wait for somebody to write into it.
        if not path.is_file():
            raise InputError(f"There is no weights file {path}: check the path.")
        return FORMATS[path.suffix](path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): check who may read it.") from error
    except MemoryError as error:
        raise Failure(f"There is not enough memory to open {path}: close other programs.") from error


__all__ = ["FORMATS", "Checkpoint", "open_checkpoint"]

"""Files appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from keras_vit.errors import InputError

PARTIAL = ".partial-"
"""How the names of temporary files begin."""


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path in the same folder, moved to `path` when the block ends well and removed when it fails.

    A missing folder is made. The temporary name keeps the ending (`.keras`, `.weights.h5`), by which libraries know
    the format.

    Raises:
        InputError: the folder or the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f"{PARTIAL}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}): choose a folder that you may write to, with free "
            "space."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def check_writable(folder: str | os.PathLike) -> None:
    """Makes sure that a folder, which need not be there yet, may be written to: before work whose result goes there.

    Raises:
        InputError: it may not.
    """
    folder = Path(folder)
    parent = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(f"{folder} cannot be written: choose a folder that you may write to.")


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes UTF-8 text, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Writes bytes, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)

"""From what the user names as data to the reader that reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from keras_vit.data.csv_file import find_csv
from keras_vit.errors import InputError

TFDS = "tfds:"


def route(spec: str, accepted: str, kind_of_path: Callable[[Path], str | None]) -> tuple[str, str]:
    """The kind of data, and what its reader is called with.

    Args:
        spec: a path or `tfds:NAME`.
        accepted: what could have been given, for the error's sentence.
        kind_of_path: of a file or folder that is there; None where it is nothing known.

    Raises:
        InputError: nothing is there, or it is no kind of data that is known.
    """
    if spec.startswith(TFDS):
        return "tfds", spec.removeprefix(TFDS)
    path = Path(spec).expanduser()
    if not path.exists():
        raise InputError(f"There is no data at {spec!r}: give {accepted}.")
    kind = kind_of_path(path)
    if kind is None:
        raise InputError(f"{spec} is no kind of data that is known: give {accepted}.")
    return kind, str(path)


def table_or_folder(path: Path, column: str = "label") -> str | None:
    """`csv`, `npz` or `folder`.

    Args:
        path: of a file or a folder; one with a CSV is read by it.
        column: that the CSV has beside the file.
    """
    if path.is_dir():
        return "csv" if find_csv(path, column) else "folder"
    return path.suffix.lower()[1:] if path.suffix.lower() in (".csv", ".npz") else None

"""Images without labels, as they come to prediction: files, folders and patterns."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_vit.data.check import preflight
from keras_vit.data.examples import Examples
from keras_vit.data.folder import EXTENSIONS
from keras_vit.errors import InputError


def find_images(paths: Sequence[str], *, skip_bad: bool = False, progress: bool = True) -> tuple[Examples, list[str]]:
    """Finds and checks the images behind files, folders (searched deeply) and shell patterns.

    Args:
        paths: in any mixture; an image that is named twice is taken once.
        skip_bad: leave unreadable images out instead of failing.
        progress: show a bar while images are checked.

    Returns:
        The images in the order they were named (those of a folder by name), all labelled 0, and notes on files that
        were left out.

    Raises:
        InputError: nothing is there, a folder has no image, or an image cannot be read.
    """
    found = list(dict.fromkeys(str(file) for path in paths for file in _expand(str(path))))
    checked, notes = preflight(
        {"images": Examples(np.zeros(len(found)), paths=found)}, skip_bad=skip_bad, progress=progress
    )
    if not len(checked["images"]):
        raise InputError("None of the images can be read: check the files.")
    return checked["images"], notes


def _expand(path: str) -> list[Path]:
    # A file may well be called "cat[1].jpg": what is there is taken by its name before it is read as a pattern.
    if Path(path).is_file():
        return [Path(path)]
    if Path(path).is_dir():
        files = sorted(f for f in Path(path).rglob("*") if _is_image(f))
        if not files:
            raise InputError(f"The folder {path} has no images in it.")
        return files
    files = sorted(Path(f) for f in glob.glob(path, recursive=True) if _is_image(Path(f)))
    if not files:
        raise InputError(f"There is no image {path}: check the path.")
    return files


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in EXTENSIONS and file.is_file() and not file.name.startswith(".")

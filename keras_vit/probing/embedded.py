"""Features on disk: plain arrays in an .npz, which NumPy reads anywhere."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.errors import InputError
from keras_vit.files import atomic

ENDING = ".npz"


@dataclass(frozen=True)
class Embedded:
    """Features of images, and what is known about the images.

    Attributes:
        features: (n, D) float32.
        files: what each image is called, n.
        labels: class of each image, (n,) int64 from 0; None where it is not known.
        class_names: of the labels.
    """

    features: np.ndarray
    files: Sequence[str]
    labels: np.ndarray | None = None
    class_names: Sequence[str] | None = None

    def save(self, path: str | os.PathLike) -> None:
        """Writes the arrays `features`, `files` and, where there are any, `labels` and `class_names`: numbers and
        fixed-width text, no pickles.

        Raises:
            InputError: the file's ending is another one, or it cannot be written.
        """
        check_out(path)
        arrays = {"features": np.asarray(self.features, np.float32), "files": np.array(list(self.files), str)}
        if self.labels is not None:
            arrays["labels"] = np.asarray(self.labels, np.int64)
            arrays["class_names"] = np.array(list(self.class_names or ()), str)
        with atomic(path) as temporary:
            np.savez(temporary, **arrays)

    @classmethod
    def read(cls, path: str | os.PathLike) -> Embedded:
        """What `save` wrote.

        Raises:
            InputError: a missing or damaged file, or one with other arrays.
        """
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, TypeError) as error:
            raise InputError(
                f"{path} is no readable .npz of plain arrays ({error}): write it with keras-vit embed."
            ) from (error)
        features, files = arrays.get("features"), arrays.get("files")
        if features is None or files is None or features.ndim != 2 or files.shape != features.shape[:1]:
            held = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"
            raise InputError(f"{path} holds {held}, not features (n, D) and files (n,): write it with keras-vit embed.")
        names = arrays.get("class_names")
        return cls(features, files.tolist(), arrays.get("labels"), None if names is None else names.tolist())


def check_out(path: str | os.PathLike) -> None:
    """Refuses a place for features before the work rather than after it.

    Raises:
        InputError: another ending, or a folder that cannot be written.
    """
    path = Path(path)
    if path.suffix != ENDING:
        raise InputError(f"Features are written as {ENDING}, and {path} ends otherwise: name it {path.name}{ENDING}.")
    check_writable(path.parent)


def check_writable(folder: Path) -> None:
    """Refuses a folder that cannot be made or written to.

    Raises:
        InputError: says which.
    """
    above = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise InputError(f"{folder} cannot be written: choose a folder that you may write to.")

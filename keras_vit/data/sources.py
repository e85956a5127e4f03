"""`load`: from what the user names (a folder, a file, a TFDS name) to checked splits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_vit.data import check
from keras_vit.data.arrays import read_digits, read_npz
from keras_vit.data.csv_file import find_csv, read_csv
from keras_vit.data.examples import Data, Source
from keras_vit.data.folder import read_folder
from keras_vit.data.split import carve
from keras_vit.data.tfds_source import read_tfds
from keras_vit.errors import InputError

READERS: dict[str, Callable[[str], Source]] = {
    "digits": lambda _: read_digits(),
    "tfds": read_tfds,
    "npz": lambda name: read_npz(Path(name)),
    "csv": lambda name: read_csv(find_csv(Path(name))),
    "folder": lambda name: read_folder(Path(name)),
}
"""The reader of each kind of data, called with the rest of the spec."""

_ACCEPTED = "an image folder, a folder with a CSV, a .csv or .npz file, tfds:NAME[:config], or digits"


def load(
    spec: str,
    *,
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    seed: int = 0,
    skip_bad: bool = False,
    progress: bool = True,
) -> Data:
    """Reads, checks and splits a data set.

    Args:
        spec: an image folder (train/ val/ test/ with class folders, or class folders), a folder with a CSV or the CSV
            itself (columns file, label[, split]), an .npz (x_train, y_train, ...), `tfds:NAME[:config]`, or `digits`
            (scikit-learn's 1797 handwritten digits).
        val_fraction, test_fraction: shares of each class that are set aside when the data has no such split;
            0 for none.
        seed: fixes that split.
        skip_bad: leave unreadable images out instead of failing.
        progress: show a progress bar while images are checked.

    Returns:
        The checked data.

    Raises:
        InputError: the data cannot be used; the sentence names the thing and the remedy.
    """
    kind, name = kind_of(spec)
    source = READERS[kind](name)
    _check_labels(source)
    source.splits, left_out = check.preflight(source.splits, skip_bad=skip_bad, progress=progress)
    _check_labels(source)
    source = carve(source, val_fraction=val_fraction, test_fraction=test_fraction, seed=seed)
    return Data(
        train=source.splits["train"],
        val=source.splits.get("val"),
        test=source.splits.get("test"),
        class_names=source.class_names,
        fingerprint=check.fingerprint(source.splits, source.class_names),
        notes=[*source.notes, *left_out, *check.leakage(source.splits, source.class_names)],
        spec=spec,
    )


def kind_of(spec: str) -> tuple[str, str]:
    """Which reader a spec asks for, and what that reader is called with.

    Raises:
        InputError: nothing is there, or it is no kind of data that is known.
    """
    spec = str(spec)
    if spec == "digits":
        return "digits", ""
    if spec.startswith("tfds:"):
        return "tfds", spec.removeprefix("tfds:")
    path = Path(spec).expanduser()
    if not path.exists():
        raise InputError(f"There is no data at {spec!r}: give {_ACCEPTED}.")
    if path.is_dir():
        return ("csv" if find_csv(path) else "folder"), str(path)
    if path.suffix.lower() in (".csv", ".npz"):
        return path.suffix.lower()[1:], str(path)
    raise InputError(f"{spec} is no kind of data that is known: give {_ACCEPTED}.")


def _check_labels(source: Source):
    """Every label in range and every class in every split, or an InputError."""
    names = source.class_names
    if len(names) < 2:
        found = f"only one class ({names[0]})" if names else "no class"
        raise InputError(f"The data has {found}: a classifier needs at least two.")
    for split, examples in source.splits.items():
        labels = examples.labels
        if len(labels) == 0:
            raise InputError(f"The {split} split has no images: add some or remove the split.")
        wrong = np.flatnonzero((labels < 0) | (labels >= len(names)))
        if len(wrong):
            raise InputError(
                f"{len(wrong)} label(s) of the {split} split are outside 0..{len(names) - 1}, for instance "
                f"{labels[wrong[0]]} of {examples.names[wrong[0]]}: correct the labels or the class names."
            )
        missing = np.flatnonzero(np.bincount(labels, minlength=len(names)) == 0)
        if len(missing):
            listed = ", ".join(repr(names[i]) for i in missing[:5]) + (", ..." if len(missing) > 5 else "")
            raise InputError(
                f"The {split} split has no image of {len(missing)} of the {len(names)} classes ({listed}): "
                "add images, or remove the class everywhere."
            )

"""A CSV of files and labels beside a folder or a zip of images."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_vit.data.examples import Examples, Source
from keras_vit.data.folder import SPLIT_NAMES
from keras_vit.errors import InputError, suggest

# Each column and the headers that mean it.
_COLUMNS = {
    "file": ("file", "path", "filename"),
    "label": ("label", "index"),
    "mask": ("mask", "mask_file", "mask_path"),
    "name": ("class_name", "name"),
    "split": ("split",),
}


class ZipMembers(Sequence):
    """Files of a zip archive as a sequence of bytes, read when asked for.

    zipfile locks its file, so threads may share one archive.

    Args:
        archive: the zip file.
        members: names of the files in it.
    """

    def __init__(self, archive: Path, members: list[str]):
        self.archive = zipfile.ZipFile(archive)
        self.members = members

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: int) -> bytes:
        try:
            return self.archive.read(self.members[index])
        except (zipfile.BadZipFile, RuntimeError) as error:  # damaged, or locked with a password
            raise OSError(str(error)) from error


def find_csv(path: Path, column: str = "label") -> Path | None:
    """The CSV that describes the images of a folder: `labels.csv`, or its only CSV with file and label columns.

    Args:
        path: the folder, or the CSV itself.
        column: which column is needed beside the file, `label` or `mask`.
    """
    if path.is_file():
        return path
    candidates = [path / "labels.csv"] if (path / "labels.csv").is_file() else sorted(path.glob("*.csv"))
    described = [candidate for candidate in candidates if {"file", column} <= set(_header(candidate))]
    return described[0] if len(described) == 1 else None


def read_csv(path: Path) -> Source:
    """Reads `file,label[,class_name][,split]`; `label` is a whole number from 0 or a name.

    Files are looked for beside the CSV, in `images/` beside it, then in each zip beside it.

    Raises:
        InputError: columns, files, labels or splits that do not fit.
    """
    rows = read_rows(path, ("file", "label"))
    rows, notes = _with_labels(path, rows)
    labels, class_names = _labels(path, rows)
    everything = locate(path, [row["file"] for row in rows])
    members: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        members.setdefault(split_of(path, row), []).append(i)
    everything.labels = labels
    return Source({split: everything.subset(indices) for split, indices in members.items()}, class_names, notes)


def read_rows(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a CSV, by what its columns mean; others are left out.

    Raises:
        InputError: it is no UTF-8 CSV, has no rows, or lacks a column that is needed.
    """
    columns = _header(path)
    if not set(needed) <= set(columns):
        raise InputError(
            f"{path} needs the columns {' and '.join(needed)} (and maybe split): name them in its first line."
        )
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            table = list(csv.DictReader(stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no readable CSV ({error}): save it as UTF-8 text.") from error
    rows = [{key: (row[header] or "").strip() for key, header in columns.items()} for row in table]
    if not rows:
        raise InputError(f"{path} has no rows: list the images in it.")
    return rows


def _header(path: Path) -> dict[str, str]:
    """The header that stands for each known column, for those that are there."""
    # Any CSV of the folder is looked at here, whatever it is written in; only the chosen one has to be right.
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        headers = next(csv.reader(stream), [])
    by_lower = {header.strip().lower(): header for header in reversed(headers)}
    found = {key: next((by_lower[n] for n in names if n in by_lower), None) for key, names in _COLUMNS.items()}
    return {key: header for key, header in found.items() if header is not None}


def split_of(path: Path, row: dict[str, str]) -> str:
    """The split that a row names, `train` where there is no such column.

    Raises:
        InputError: no split is called so.
    """
    name = row.get("split", "train").lower()
    if name not in SPLIT_NAMES:
        raise InputError(f"{path} has the split {name!r} for {row['file']}: {suggest(name, SPLIT_NAMES)}")
    return SPLIT_NAMES[name]


def _with_labels(path: Path, rows: list[dict[str, str]]) -> tuple[list[dict[str, str]], list[str]]:
    """The rows that have a label; only test images may go without."""
    unlabelled = [row for row in rows if not row["label"]]
    needed = [row for row in unlabelled if split_of(path, row) != "test"]
    if needed:
        raise InputError(f"{path} has no label for {len(needed)} row(s), the first is {needed[0]['file']}: add it.")
    if not unlabelled:
        return rows, []
    note = f"{len(unlabelled)} test row(s) of {path} have no label and are left out."
    return [row for row in rows if row["label"]], [note]


def _labels(path: Path, rows: list[dict[str, str]]) -> tuple[np.ndarray, list[str]]:
    """(n,) int64 labels and the class names."""
    given = [row["label"] for row in rows]
    if not all(label.lstrip("-").isdigit() for label in given):
        class_names = sorted(set(given))
        position = {name: i for i, name in enumerate(class_names)}
        return np.array([position[label] for label in given], np.int64), class_names
    labels = np.array([int(label) for label in given], np.int64)
    if labels.min() < 0:
        row = rows[int(labels.argmin())]
        raise InputError(f"{path} has the label {row['label']} for {row['file']}: number the classes from 0.")
    names: dict[int, str] = {}
    for row, label in zip(rows, labels.tolist(), strict=True):
        name = names.setdefault(label, row.get("name") or str(label))
        if row.get("name") and row["name"] != name:
            raise InputError(f"{path} calls label {label} both {name!r} and {row['name']!r}: give it one name.")
    if len(names) <= labels.max():
        gap = next(label for label in range(int(labels.max())) if label not in names)
        raise InputError(
            f"{path} has labels up to {labels.max()} but no row with label {gap}: number them without gaps."
        )
    return labels, [names[label] for label in range(len(names))]


def locate(path: Path, files: list[str]) -> Examples:
    """The files as examples, their labels still 0, from the first place that has them all.

    Raises:
        InputError: files are nowhere, or a zip is damaged.
    """
    labels = np.zeros(len(files), np.int64)
    nearest: list[str] | None = None
    for root in (path.parent, path.parent / "images"):
        missing = [file for file in files if not (root / file).is_file()]
        if not missing:
            return Examples(labels=labels, paths=[str(root / file) for file in files])
        nearest = missing if nearest is None or len(missing) < len(nearest) else nearest
    for archive in sorted(path.parent.glob("*.zip")):
        try:
            members = ZipMembers(archive, files)
        except zipfile.BadZipFile as error:
            raise InputError(f"{archive} is no readable zip ({error}): copy it again.") from error
        present = set(members.archive.namelist())
        missing = [file for file in files if file not in present]
        if not missing:
            return Examples(labels=labels, encoded=members, item_names=[f"{archive}/{file}" for file in files])
        nearest = missing if len(missing) < len(nearest) else nearest
    raise InputError(
        f"{path} names {len(nearest)} file(s) that are not there, the first is {nearest[0]}: "
        "paths are relative to the CSV; correct them or add the files."
    )

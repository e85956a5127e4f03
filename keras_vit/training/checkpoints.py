"""The files that a run resumes from: written whole, with a checksum, and never believed without it.

A checkpoint is two files of one name. `epoch-0003-step-000120.safetensors` holds every array, and the `.json` beside it
the small state, the SHA-256 of the arrays' file and one of itself. The record is written last, so that a checkpoint
without one was never finished.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_vit.errors import InputError
from keras_vit.files import PARTIAL, atomic, write_text

_TYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_TYPES |= {f"{kind}{bits}": f"{kind[0].upper()}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
_TYPES |= {"bool": "BOOL"}
"""NumPy's names of number types -> those of the format."""


@dataclass
class State:
    """The small part of a checkpoint.

    Attributes:
        epoch: epochs completed.
        step: updates since then.
        best: the monitored figure of the best epoch.
        best_epoch: its number, counted from 1.
        waited: epochs since then.
        history: figure -> one value an epoch.
        diverged: [epoch, step] of each update, both counted from 1, whose loss was no number and after which the run
            went back and halved its learning rate.
    """

    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0
    waited: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    diverged: list[list[int]] = field(default_factory=list)


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they lie; made by the first `write`.
        keep: how many of the newest stay.
    """

    def __init__(self, folder: Path, keep: int = 2):
        self.folder = folder
        self.keep = keep

    def write(self, state: State, arrays: Mapping[str, np.ndarray]) -> None:
        """Adds a checkpoint and removes those that are older than the `keep` newest.

        Raises:
            InputError: it cannot be written; those before it stay.
        """
        weights = self.folder / f"epoch-{state.epoch:04d}-step-{state.step:06d}.safetensors"
        with atomic(weights) as temporary:
            digest = _save(arrays, temporary)
        self._write_record(state, weights.with_suffix(".json"), digest)
        for record in self._records()[self.keep :]:
            # The record goes first: arrays without one are no checkpoint.
            record.unlink(missing_ok=True)
            record.with_suffix(".safetensors").unlink(missing_ok=True)

    def rewrite(self, state: State) -> None:
        """Replaces the small state of the newest checkpoint; its arrays stay."""
        newest = self._records()[0]
        self._write_record(state, newest, json.loads(newest.read_text(encoding="utf-8"))["sha256"])

    def newest(self) -> tuple[State, dict[str, np.ndarray]] | None:
        """The newest checkpoint whose checksums fit; damaged ones that are newer are named, each in one sentence.

        Returns:
            Its state, and its arrays by name; None where there is no checkpoint at all.

        Raises:
            InputError: all are damaged.
        """
        records = self._records()
        for record in records:
            found = _read(record)
            if found is not None:
                self._drop(records[: records.index(record)])
                return found
            print(f"The checkpoint {record.with_suffix('')} is damaged (its checksum does not fit) and is not used.")
        if records:
            raise InputError(
                f"Every checkpoint in {self.folder} is damaged: restore the folder from a copy, or start the run again "
                "with --overwrite."
            )
        return None

    def clear(self) -> None:
        """Removes what a killed process left behind: temporary files, and arrays that never got their record."""
        left = [path for path in self.folder.glob("*.safetensors") if not path.with_suffix(".json").exists()]
        for path in (*left, *self.folder.glob(f"{PARTIAL}*"), *self.folder.parent.glob(f"{PARTIAL}*")):
            path.unlink(missing_ok=True)

    def _records(self) -> list[Path]:
        """Newest first; the numbers in the names are padded, so that their order is that of the names."""
        return sorted(self.folder.glob("epoch-*-step-*.json"), reverse=True)

    def _drop(self, damaged: list[Path]) -> None:
        # Left in place they would count as the newest, and push out the good ones that the run writes from here on.
        for record in damaged:
            record.unlink(missing_ok=True)
            record.with_suffix(".safetensors").unlink(missing_ok=True)

    def _write_record(self, state: State, path: Path, digest: str) -> None:
        record = {**dataclasses.asdict(state), "sha256": digest}
        write_text(path, json.dumps({**record, "record_sha256": _digest_of(record)}, indent=1))


def last_state(folder: Path) -> State | None:
    """The state of the newest checkpoint in a folder whose record is whole; its arrays are not looked at."""
    for record in Checkpoints(folder)._records():
        found = _read_record(record)
        if found is not None:
            return found[0]
    return None


def _save(arrays: Mapping[str, np.ndarray], path: Path) -> str:
    """Writes a safetensors file, and returns its SHA-256 as it was meant to be, whatever the disk makes of it.

    The library's own writer wants a second copy of everything in memory, and leaves a temporary file of its own when it
    is killed.
    """
    header, end = {}, 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": _TYPES[array.dtype.name], "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    # The format wants the arrays to begin at a multiple of 8.
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in (len(text).to_bytes(8, "little"), text, *map(np.ascontiguousarray, arrays.values())):
            file.write(part)
            digest.update(part)
        # On the disk before its record is: a machine that loses power must not be left with the record alone.
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _read(record: Path) -> tuple[State, dict[str, np.ndarray]] | None:
    """A checkpoint, or None where it is damaged."""
    from safetensors.numpy import load_file

    found = _read_record(record)
    if found is None:
        return None
    state, digest = found
    weights = record.with_suffix(".safetensors")
    try:
        with weights.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                return None
    except OSError:
        return None
    return state, load_file(weights)


def _read_record(path: Path) -> tuple[State, str] | None:
    """The state and the digest of the arrays' file, or None where the record is damaged."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.pop("record_sha256") != _digest_of(record):
            return None
        return State(**{f.name: record[f.name] for f in dataclasses.fields(State)}), record["sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _digest_of(record: dict) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()

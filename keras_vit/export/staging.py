"""An export appears whole or not at all: it is made in a folder of its own and moved into place in the end."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from keras_vit.errors import InputError
from keras_vit.export.errors import ExportFailed
from keras_vit.export.page import PAGE
from keras_vit.export.progress import Advance, bar
from keras_vit.export.report import write_report

REPORT = "report.json"
LABELS = "labels.txt"


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """A temporary folder next to `out`, gone in the end; the log of a failed stage is rescued from it into `out`."""
    try:
        if out.exists() and not (out.is_dir() and os.access(out, os.W_OK)):
            raise PermissionError(None, "not a folder that may be written")
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise InputError(
            f"The export folder {out} cannot be written ({error.strerror}): choose another folder."
        ) from error
    try:
        yield folder
    except ExportFailed as error:
        if error.log is None:
            raise
        out.mkdir(exist_ok=True)
        kept = out / error.log.name
        os.replace(error.log, kept)
        raise ExportFailed(f"{error} The log is {kept}.", kept) from None
    finally:
        shutil.rmtree(folder)


@contextmanager
def stage(console: Console, text: str) -> Iterator[Advance]:
    """Shows progress, and how long it took; gives what to call with the progress."""
    start = time.monotonic()
    with bar(console, text) as advance:
        yield advance
    console.print(f"{text}: {time.monotonic() - start:.1f} s")


def publish(report: dict, class_names: Sequence[str], folder: Path, out: Path) -> None:
    """Moves what is kept into place: the old report goes first, the new one comes last, so that none is wrong."""
    (folder / LABELS).write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
    write_report(report, folder / REPORT)
    out.mkdir(exist_ok=True)
    (out / REPORT).unlink(missing_ok=True)
    for entry in report["artifacts"]:
        _put(folder / entry["file"], out / entry["file"], entry["kept"], attic=folder)
        (out / f"{entry['file']}.log").unlink(missing_ok=True)
    for name in (LABELS, PAGE, REPORT):
        os.replace(folder / name, out / name)


def _put(new: Path, place: Path, kept: bool, attic: Path) -> None:
    """Replaces what lies at `place`, a file or a folder, by `new`, or by nothing; the old one goes to the attic."""
    if place.exists():
        os.replace(place, attic / f"replaced-{place.name}")
    if kept:
        os.replace(new, place)

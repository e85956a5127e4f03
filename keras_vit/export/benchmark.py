"""Speed, size and memory of a run's files beside each other, each in a process of its own.

A machine's speed drifts by more than the files differ. So all contenders stay loaded and take turns in short bursts,
and each is compared with the first one within the same round; the median over the rounds is what counts.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import Progress

from keras_vit.errors import InputError
from keras_vit.export.errors import ExportFailed
from keras_vit.export.predictor import Predictor, is_exported
from keras_vit.export.process import RUNNERS

if TYPE_CHECKING:
    from keras_vit.training.run import Run

RUNTIMES = {".tflite": "run_tflite", ".onnx": "run_onnx", ".keras": "run_keras", "": "run_saved_model"}
"""Ending of a file -> the program of `runners/` that runs it; a folder has none."""

PICTURES = 8
"""Different images, of random pixels: what they show does not change the time."""


@dataclass(frozen=True)
class Contender:
    """A file to be measured.

    Attributes:
        name: what it is called in the table.
        path: of the file or folder.
        image_shape: (H, W, channels).
    """

    name: str
    path: Path
    image_shape: tuple[int, int, int]

    @property
    def size_bytes(self) -> int:
        """Of the file, or of all files in the folder."""
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(file.stat().st_size for file in files if file.is_file())


def contenders_of(found: Run | Predictor) -> list[Contender]:
    """An exported file, or a run's `model.keras` and all that was exported from it."""
    if isinstance(found, Predictor):
        return [Contender(found.path.name, found.path, found.input_shape[1:])]
    from keras_vit.training.run import EXPORT, MODEL

    record = found.preprocessing
    folder = found.folder / EXPORT
    files = sorted(file for file in folder.iterdir() if is_exported(file)) if folder.is_dir() else []
    shape = (*record.image_size, record.channels)
    return [Contender(file.name, file, shape) for file in (found.folder / MODEL, *files)]


def benchmark(
    contenders: Sequence[Contender],
    *,
    threads: Sequence[int] = (1, 2),
    rounds: int = 10,
    images: int = 5,
    progress: bool = True,
) -> dict:
    """Measures files in turns.

    Args:
        contenders: the first one is what the others are compared with.
        threads: numbers of threads; every file is measured with each.
        rounds: how often each file has its turn.
        images: timed calls a turn.
        progress: show a bar.

    Returns:
        `{"machine": {...}, "rounds", "images", "contenders": [{"name", "file", "size_bytes", "load_ms",
        "peak_memory_bytes", "latency": {"1": {"median_ms", "p95_ms", "ratio"}, ...}}, ...]}`. Times are those of one
        image; `ratio` is the median over the rounds of the time over the first contender's; load time and memory (above
        the bare runtime's) are those with the first number of threads, memory None where the system does not tell.

    Raises:
        InputError: no contenders, or a count below 1.
        ExportFailed: a file does not run.
    """
    if not contenders:
        raise InputError("There is nothing to measure: name a run folder or an exported file.")
    if min(rounds, images, *threads) < 1:
        raise InputError("rounds, images and threads are counts of at least 1.")
    found = [{"name": c.name, "file": str(c.path), "size_bytes": c.size_bytes, "latency": {}} for c in contenders]
    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not (progress and console.is_terminal))
    with tempfile.TemporaryDirectory() as folder, bar:
        task = bar.add_task("measuring", total=len(contenders) * (1 + rounds) * len(threads))
        for number in threads:
            with ExitStack() as stack:
                running = []
                for contender in contenders:
                    bar.update(task, description=f"loading {contender.name}")
                    running.append(stack.enter_context(_running(contender, number, Path(folder))))
                    bar.advance(task)
                bar.update(task, description=f"measuring, {number} thread(s)")
                times = np.array([[_advance(bar, task, burst(images)) for burst, _ in running] for _ in range(rounds)])
            for index, (entry, (_, loaded)) in enumerate(zip(found, running, strict=True)):
                entry["latency"][str(number)] = _figures(times[:, index], times[:, 0])
                for key in ("load_ms", "peak_memory_bytes"):
                    entry.setdefault(key, loaded[key])
    machine = {"platform": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()}
    return {"machine": machine, "rounds": rounds, "images": images, "contenders": found}


def _figures(times: np.ndarray, first: np.ndarray) -> dict[str, float]:
    """Of times (rounds, images) in milliseconds, and those of the first contender."""
    return {
        "median_ms": float(np.median(times)),
        "p95_ms": float(np.percentile(times, 95)),
        "ratio": float(np.median(np.median(times, axis=1) / np.median(first, axis=1))),
    }


def _advance(bar: Progress, task, value):
    bar.advance(task)
    return value


@contextmanager
def _running(contender: Contender, threads: int, folder: Path) -> Iterator[tuple]:
    """A contender's process: a function from a number of calls to their times per image, and what loading took."""
    pictures = folder / f"{'x'.join(map(str, contender.image_shape))}.npy"
    if not pictures.exists():
        np.save(pictures, np.random.default_rng(0).integers(0, 256, (PICTURES, *contender.image_shape), "uint8"))
    runtime = RUNTIMES[contender.path.suffix if contender.path.is_file() else ""]
    command = [sys.executable, "-P", RUNNERS / "burst.py", runtime, contender.path.absolute(), "--images", pictures]
    with (
        tempfile.TemporaryFile("w+", errors="replace") as log,
        subprocess.Popen(
            [*map(str, command), "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=folder,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"},
        ) as process,
    ):

        def answer():
            line = process.stdout.readline()
            if not line:
                process.wait()
                log.seek(0)
                said = [line.strip() for line in log if line.strip()] or [f"exit status {process.returncode}"]
                raise ExportFailed(f"{contender.path} does not run ({said[-1][:200]}): export it again.")
            return json.loads(line)

        def burst(images: int) -> list[float]:
            print(images, file=process.stdin, flush=True)
            return [time / loaded["batch"] for time in answer()]

        try:
            loaded = answer()
            yield burst, loaded
        finally:
            process.kill()

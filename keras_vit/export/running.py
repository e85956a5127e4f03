"""An exported file, run over images by a program of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.export.process import RUNNERS, run_script
from keras_vit.export.progress import Advance, following

MODEL_ALONE = "serving_default"
"""The signature that stands for the file where there are several: the model without decoding."""


@dataclass(frozen=True)
class Results:
    """What a program of `runners/` found.

    Attributes:
        outputs: signature -> (n, ..., K) float32, read from disk as they are looked at: all outputs side by side, in
            the order of their names.
        latency_ms: signature -> times of its calls, each of one image or of the file's own static batch.
        load_ms: until the file was ready to be called.
        peak_memory_bytes: what loading and the first calls needed above the bare runtime; None where the system does
            not tell.
    """

    outputs: dict[str, np.ndarray]
    latency_ms: dict[str, np.ndarray]
    load_ms: float
    peak_memory_bytes: int | None


def run_file(
    artefact: Path,
    script: str,
    inputs: Mapping[str, Path],
    *,
    threads: int,
    first: int | None = None,
    progress: Advance | None = None,
) -> Results:
    """Runs a file over images in a clean process.

    Args:
        artefact: the file or folder; results and log lie beside it meanwhile.
        script: of `runners/`, without its ending.
        inputs: argument of the script -> file with the inputs, see `runners`.
        threads: of the runtime.
        first: run only so many images; None runs all.
        progress: is told how many images are done, and of how many.

    Raises:
        ExportFailed: the file does not load or does not run; the log is kept beside it.
    """
    artefact = artefact.absolute()
    results, log = (artefact.with_name(f"{artefact.name}.{ending}") for ending in ("npz", "log"))
    given = [part for name, path in inputs.items() for part in (f"--{name}", path.absolute())]
    limit = [] if first is None else ["--first", str(first)]
    with following(log, progress):
        run_script(
            RUNNERS / f"{script}.py",
            [artefact, results, *given, "--threads", str(threads), *limit],
            log=log,
            stage=f"Running {artefact.name}",
            remedy="a file that does not run in its own runtime is not shipped; its log says why.",
        )
    with np.load(results) as stored:
        names = [key.removesuffix(".latency_ms") for key in stored if key.endswith(".latency_ms")]
        peak = float(stored["peak_memory_bytes"])
        found = Results(
            outputs={name: _taken(results.with_suffix(f".{name}.npy")) for name in names},
            latency_ms={name: stored[f"{name}.latency_ms"] for name in names},
            load_ms=float(stored["load_ms"]),
            peak_memory_bytes=None if np.isnan(peak) else int(peak),
        )
    results.unlink()
    return found


def outputs_of(path: Path, images: Path, threads: int, *, script: str = "run_tflite") -> np.ndarray:
    """What a file makes of images, and no more.

    Args:
        path: of the file.
        images: .npy file of (n, H, W, channels) uint8.
        threads: of the runtime.
        script: of `runners/`, without its ending.

    Returns:
        (n, ..., K) float32.

    Raises:
        ExportFailed: see `run_file`.
    """
    return run_file(path, script, {"images": images}, threads=threads).outputs[MODEL_ALONE]


def _taken(path: Path) -> np.ndarray:
    """An array on disk, whose file goes when nobody looks at it any longer."""
    array = np.load(path, mmap_mode="r")
    path.unlink()
    return array

"""What calibration images do to every activation of a float file: collected once, used by any number of policies."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from keras_vit.errors import InputError
from keras_vit.export.process import RUNNERS, run_script
from keras_vit.export.progress import Advance, following
from keras_vit.export.quantize.scales import least_error_range

SMALLEST_IMAGES = 8
"""Ranges from fewer images do not hold on others."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of T activations over n images.

    Attributes:
        source: SHA-256 of the file that they belong to.
        tensors: number of a tensor in the file -> its place in the arrays below.
        low, high: (n, T) extremes in each image.
        limits: (T,) ends of the histograms.
        counts: (T, bins) histograms over [-limit, limit].
        means: number of a tensor that a product with weights reads -> mean of each of its channels (D,).
    """

    source: str
    tensors: dict[int, int]
    low: np.ndarray
    high: np.ndarray
    limits: np.ndarray
    counts: np.ndarray
    means: dict[int, np.ndarray]

    @lru_cache(maxsize=10_000)  # noqa: B019 - a search asks for the same ranges under each of its policies
    def range(self, tensor: int, clipping: str | float) -> tuple[float, float]:
        """The smallest and largest value of a tensor that are to be told apart; see `Policy.clipping`."""
        place = self.tensors[tensor]
        low, high = float(self.low[:, place].min()), float(self.high[:, place].max())
        if clipping == "average":
            return float(self.low[:, place].mean()), float(self.high[:, place].mean())
        if clipping == "mse":
            return least_error_range(self.counts[place], float(self.limits[place]), low, high)
        if clipping == "minmax":
            return low, high
        counts = self.counts[place].cumsum() / self.counts[place].sum()
        edges = np.linspace(-self.limits[place], self.limits[place], len(counts) + 1)
        tail = (1 - clipping / 100) / 2
        first, last = np.searchsorted(counts, tail, side="right"), np.searchsorted(counts, 1 - tail)
        return max(low, float(edges[first])), min(high, float(edges[min(last, len(counts) - 1) + 1]))


def fingerprint(source: Path) -> str:
    """SHA-256 of a file."""
    with source.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def collect(source: Path, calibration: Path, *, threads: int = 2, advance: Advance | None = None) -> Statistics:
    """Runs a float32 TFLite file over calibration images, in a process of its own.

    Args:
        source: of static batch 1.
        calibration: .npy file of (n, H, W, channels) uint8 pixels, as the file takes them; 64 to 128 are enough.
        threads: of the interpreter.
        advance: is told how many images are done.

    Raises:
        InputError: the images cannot be read, or are not what the file takes.
        ExportFailed: the file does not run.
    """
    _check_images(calibration, _input_shape(source))
    with tempfile.TemporaryDirectory() as folder:
        out, log = Path(folder) / "statistics.npz", Path(folder) / f"{source.name}.log"
        with following(log, advance):
            run_script(
                RUNNERS / "calibrate_tflite.py",
                [source.absolute(), out, "--images", calibration.absolute(), "--threads", str(threads)],
                log=log,
                stage=f"Calibrating {source.name}",
                remedy="its log says which operator failed; formats without calibration can still be exported.",
            )
        with np.load(out) as found:
            arrays = {name: found[name] for name in found}
    means = {int(name.removeprefix("mean_")): arrays.pop(name) for name in list(arrays) if name.startswith("mean_")}
    places = {int(tensor): place for place, tensor in enumerate(arrays.pop("tensors"))}
    return Statistics(source=fingerprint(source), tensors=places, means=means, **arrays)


def _input_shape(source: Path) -> tuple[int, ...]:
    from keras_vit.export.quantize.file import ModelFile

    file = ModelFile.read(source)
    return tuple(int(side) for side in file.tensors[file.graph.inputs[0]].shape)


def _check_images(calibration: Path, shape: tuple[int, ...]) -> None:
    try:
        images = np.load(calibration, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"The calibration images {calibration} cannot be read ({error}): give an .npy file."
        ) from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape[1:]:
        raise InputError(
            f"{calibration} holds {images.dtype} {images.shape}: calibration takes uint8 images (n, "
            f"{', '.join(map(str, shape[1:]))})."
        )
    if len(images) < SMALLEST_IMAGES:
        raise InputError(
            f"{calibration} holds {len(images)} images: calibration needs {SMALLEST_IMAGES} or more, better 64."
        )

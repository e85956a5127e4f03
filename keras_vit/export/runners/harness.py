"""What all programs `run_*.py` share: command line, passes over the images, times, memory, results. Needs numpy only.

The contract is in the docstring of `runners`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WARM_UP = 3
SECONDS_PER_LINE = 0.2


@dataclass(frozen=True)
class Signature:
    """One way to call a loaded file.

    Attributes:
        call: a batch of inputs -> the outputs (batch, ..., K), side by side where there are several. Inputs are uint8
            (batch, H, W, channels), or a list of bytes for encoded files.
        inputs: the argument of the command line that names the inputs, `images` or `encoded`.
        batch: how many inputs every call takes.
    """

    call: Callable[[np.ndarray | list[bytes]], np.ndarray]
    inputs: str = "images"
    batch: int = 1


def main(
    load: Callable[[str, int], dict[str, Signature]], *, foreign: Collection[str], usage: str, encoded: bool = False
) -> None:
    """Runs a file as the contract says.

    Args:
        load: path and number of threads -> signature name -> how to call it.
        foreign: packages that the runtime must not have imported.
        usage: the program's docstring.
        encoded: the program takes encoded files too.
    """
    parser = argparse.ArgumentParser(description=usage, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--images", required=True)
    if encoded:
        parser.add_argument("--encoded", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--first", type=int, help="run at most so many images")
    arguments = parser.parse_args()

    inputs = {"images": Images(arguments.images)} | ({"encoded": Encoded(arguments.encoded)} if encoded else {})
    bare, start = peak_memory_bytes(), time.perf_counter()
    signatures = load(arguments.model, arguments.threads)
    results = {"load_ms": 1000 * (time.perf_counter() - start)}
    for signature in signatures.values():
        for _ in range(WARM_UP):
            signature.call(inputs[signature.inputs][[0] * signature.batch])
    results["peak_memory_bytes"] = peak_memory_bytes() - bare

    count = min(len(inputs["images"]), arguments.first or sys.maxsize)
    progress = Progress(count * len(signatures))
    for name, signature in signatures.items():
        out = Path(arguments.out).with_suffix(f".{name}.npy")
        results[f"{name}.latency_ms"] = run(signature, inputs[signature.inputs], count, out, progress)
    if found := set(foreign) & set(sys.modules):
        sys.exit(f"not a clean process: {', '.join(sorted(found))} was imported")
    np.savez(arguments.out, **results)


def run(signature: Signature, inputs: Sequence, count: int, out: Path, progress: Progress) -> np.ndarray:
    """Writes the outputs (count, ..., K), which may be too many for the memory, as they come.

    Returns:
        The milliseconds of each call; the last batch is filled up with its last input.
    """
    stored, latency = None, []
    for first in range(0, count, signature.batch):
        batch = inputs[[min(first + i, count - 1) for i in range(signature.batch)]]
        start = time.perf_counter()
        outputs = signature.call(batch)
        latency.append(1000 * (time.perf_counter() - start))
        if stored is None:
            stored = np.lib.format.open_memmap(out, "w+", "float32", (count, *outputs.shape[1:]))
        stored[first : first + signature.batch] = outputs[: count - first]
        progress.advance(min(signature.batch, count - first))
    stored.flush()
    return np.array(latency)


class Images:
    """Pixels by index. They are read and not mapped into memory, where they would count as the runtime's."""

    def __init__(self, path: str):
        stored = np.load(path, mmap_mode="r")
        self.path, self.offset, self.shape, self.dtype = path, stored.offset, stored.shape, stored.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: Sequence[int]) -> np.ndarray:
        size = int(np.prod(self.shape[1:]))
        at = (self.offset + index * size * self.dtype.itemsize for index in indices)
        rows = [np.fromfile(self.path, self.dtype, size, offset=offset) for offset in at]
        return np.stack(rows).reshape(-1, *self.shape[1:])


class Encoded:
    """Image files by index."""

    def __init__(self, path: str):
        with np.load(path) as stored:
            self.data, self.offsets = stored["data"], stored["offsets"]

    def __getitem__(self, indices: Sequence[int]) -> list[bytes]:
        return [self.data[self.offsets[i] : self.offsets[i + 1]].tobytes() for i in indices]


class Progress:
    """Prints `k/n`, at the end and every so often before."""

    def __init__(self, total: int):
        self.done, self.total, self.shown = 0, total, time.monotonic()

    def advance(self, count: int) -> None:
        """So many images more are done."""
        self.done += count
        if self.done == self.total or time.monotonic() - self.shown > SECONDS_PER_LINE:
            print(f"{self.done}/{self.total}", flush=True)
            self.shown = time.monotonic()


def side_by_side(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The outputs of a call along their last axis, in the order of their names."""
    found = [np.asarray(outputs[name]) for name in sorted(outputs)]
    return found[0] if len(found) == 1 else np.concatenate(found, axis=-1)


def dequantize(values: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """What quantised values stand for, float32; floats stay as they are."""
    if values.dtype.kind == "f":
        return values.astype("float32")
    return ((values.astype("float64") - zero_point) * (scale or 1.0)).astype("float32")


def quantize(values: np.ndarray, dtype: np.dtype, scale: float, zero_point: int) -> np.ndarray:
    """Values in the type of a file's input; a scale of 0 means that the input is not quantised."""
    if not scale or np.dtype(dtype).kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.round(values / scale) + zero_point, limits.min, limits.max).astype(dtype)


def peak_memory_bytes() -> float:
    """The most memory that this process has had resident, in bytes; NaN where the system does not tell.

    Not `getrusage`: on Linux its figure starts from the process that started this one.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return 1024.0 * int(line.split()[1])

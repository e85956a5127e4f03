"""Batch sizes beside each other: what a step of each costs, and the largest that fits into memory."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from keras_vit.errors import Failure, InputError
from keras_vit.training.recipe import Recipe

FIRST = 8
"""The batch size, for each device and micro-batch, from which on sizes are doubled."""

_AVAILABLE = 0.9  # share of the memory that is free now which a step may take
_FINENESS = 8  # the search ends when what fits and what does not are within this part of each other


def batch_costs(
    recipe: Recipe, sizes: Sequence[int] | None = None, *, steps: int = 5, memory_gb: float | None = None
) -> Iterator[tuple[int, dict[str, float] | None]]:
    """Measures the training step of a recipe with several batch sizes, each in a process of its own.

    Args:
        recipe: all settings; its batch size does not count.
        sizes: to be measured; by default they are doubled until one does not fit, and the largest that does is then
            searched for, to an eighth of it.
        steps: that are timed for each.
        memory_gb: what a process may take; by default 90% of the memory that is available now. (A GPU's memory is its
            own limit.)

    Yields:
        Each size with what `step_cost` returns, or None where it does not fit.

    Raises:
        InputError: anything in the recipe that cannot be used, or a count below 1.
        Failure: the process ended for another reason than memory.
    """
    if min([steps, *(sizes or [1])]) < 1:
        raise InputError("batch sizes and steps are counts of at least 1.")
    if recipe.train.devices == "workers":
        raise InputError("The step of several workers is not measured here: set train.devices to auto.")
    limit = 1e9 * memory_gb if memory_gb else _AVAILABLE * _available()

    def cost(size: int):
        changed = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, batch_size=size))
        return size, _measured(changed, steps, limit)

    yield from map(cost, sizes) if sizes else _search(cost, recipe.train.accumulate * _devices(recipe))


def _search(cost: Callable, unit: int) -> Iterator:
    """Doubles until a size does not fit, then halves the way between."""
    fits, size, found = 0, FIRST * unit, {}
    while found is not None:
        _, found = cost(size)
        yield size, found
        fits, size = (size, 2 * size) if found is not None else (fits, size)
    too_large = size
    while too_large - fits > max(unit, fits // _FINENESS):
        size = fits + max(unit, (too_large - fits) // 2 // unit * unit)
        _, found = cost(size)
        yield size, found
        fits, too_large = (size, too_large) if found is not None else (fits, size)


def _devices(recipe: Recipe) -> int:
    """Batches divide by so many."""
    _, _, count = recipe.train.devices.partition(":")
    if count.isdigit():
        return int(count)
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU")) or 1


def _measured(recipe: Recipe, steps: int, limit: float) -> dict[str, float] | None:
    with tempfile.TemporaryDirectory() as folder:
        settings, out, log = (Path(folder) / name for name in ("recipe.json", "cost.json", "log.txt"))
        settings.write_text(json.dumps(recipe.to_dict()))
        command = [sys.executable, "-m", "keras_vit.training.cost", str(settings), str(steps), str(out)]
        with log.open("wb") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)
            try:
                # Before the system itself runs out of memory, and ends a process that it chooses.
                while process.poll() is None and _resident(process.pid) < limit:
                    time.sleep(0.02)
            finally:
                process.kill()
                process.wait()
        if out.is_file():
            found = json.loads(out.read_text())
            if "error" in found:
                raise InputError(found["error"])
            return found or None
        if process.returncode < 0:
            return None
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        last = lines[-1][:200] if lines else f"exit status {process.returncode}"
        raise Failure(f"The step of batch size {recipe.train.batch_size} failed ({last}).")


def _resident(pid: int) -> int:
    """Bytes of memory that a process has now; 0 where the system does not tell."""
    return _read_kilobytes(Path(f"/proc/{pid}/status"), "VmRSS", 0)


def _available() -> float:
    """Bytes of memory that are free for a process; infinite where the system does not tell."""
    return _read_kilobytes(Path("/proc/meminfo"), "MemAvailable", math.inf)


def _read_kilobytes(path: Path, name: str, otherwise: float) -> float:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return otherwise
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), otherwise)

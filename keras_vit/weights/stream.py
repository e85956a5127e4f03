"""Arrays from a file into variables, one after the other, so that the file is never in memory as a whole."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from keras_vit.errors import Failure, InputError
from keras_vit.weights.architecture import variables_of
from keras_vit.weights.dialects.rows import Row
from keras_vit.weights.fit import Fit
from keras_vit.weights.formats import Checkpoint

SHOW_PROGRESS_ABOVE = 250_000_000
"""Parameters; smaller files are read within a few seconds."""
STRIP = 64
"""Columns of a transposed matrix that are copied at a time."""


@dataclass(frozen=True)
class Match:
    """A row of a dialect, and what a file calls its arrays."""

    row: Row
    names: tuple[str, ...]


@contextlib.contextmanager
def unchanged_on_failure(model: keras.Model) -> Iterator[None]:
    """Gives a model its weights back when the block fails in the middle.

    They are held meanwhile. (TensorFlow and JAX copy nothing: a variable that is assigned to leaves its old array.)
    """
    before = [ops.copy(variable) for variable in model.weights]
    try:
        yield
    except BaseException:
        for variable, array in zip(model.weights, before, strict=True):
            variable.assign(array)
        raise


def stream(model: keras.Model, checkpoint: Checkpoint, matches: Iterable[Match], fits: Mapping[str, Fit]) -> None:
    """Reads what fits into a model's variables.

    Args:
        model: whose variables are assigned to.
        checkpoint: the file.
        matches: which of its arrays are which variables.
        fits: path of a variable -> how the file's array becomes it.

    Raises:
        InputError: an array that holds no finite numbers, or is damaged.
        Failure: the file changed meanwhile, the disk failed, or memory ran out.
    """
    variables = variables_of(model)

    def fitted(path: str, array: np.ndarray, names: Iterable[str]) -> np.ndarray:
        with np.errstate(over="ignore"):
            own = _contiguous(np.asarray(fits[path](array), variables[path].dtype))
        if not _finite(own):
            raise InputError(
                f"{checkpoint.name} has values in {', '.join(names)} that are infinite or no numbers in {own.dtype}: "
                "its training failed or it is damaged, take another one."
            )
        return own

    def arrays() -> Iterator[tuple[str, np.ndarray]]:
        for match in matches:
            if fits.keys().isdisjoint(match.row.ours):
                continue
            theirs = [_weights(checkpoint, name) for name in match.names]
            for path, array in zip(match.row.ours, match.row.read(theirs), strict=True):
                if path in fits:
                    yield path, fitted(path, array, match.names)

    try:
        for path, array in _with_progress(_one_ahead(arrays()), len(fits), checkpoint):
            variables[path].assign(array)
    except MemoryError as error:
        raise Failure(f"There is not enough memory to read {checkpoint.path}: close other programs.") from error


def _weights(checkpoint: Checkpoint, name: str) -> np.ndarray:
    array = checkpoint.read(name)
    if array.dtype.kind in "biu":
        raise InputError(
            f"{checkpoint.name} holds whole numbers in {name}, as quantised files do: take the same weights in "
            "floating point."
        )
    return array


def _finite(array: np.ndarray) -> bool:
    """Whether an array holds neither infinities nor NaN. The product with itself is twice as quick as a look at each,
    and no more than a hint, because large numbers overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        flat = array.ravel()
        return (array.dtype == "float32" and bool(np.isfinite(np.dot(flat, flat)))) or bool(np.isfinite(array).all())


def _one_ahead(items: Iterator) -> Iterator:
    """Items in order; a thread makes the next one meanwhile, since reading and copying need no interpreter."""
    end = object()
    with ThreadPoolExecutor(1) as reader:
        waiting = reader.submit(next, items, end)
        while (item := waiting.result()) is not end:
            waiting = reader.submit(next, items, end)
            yield item


def _contiguous(array: np.ndarray) -> np.ndarray:
    """The array in row-major order.

    A transposed matrix is copied in strips that stay in the processor's cache: eight times faster than NumPy's own
    copy of a large one, which is most of the time that loading takes.
    """
    if array.ndim != 2 or array.flags.c_contiguous:
        return np.ascontiguousarray(array)
    copy = np.empty(array.shape, array.dtype)
    for column in range(0, array.shape[1], STRIP):
        copy[:, column : column + STRIP] = array[:, column : column + STRIP]
    return copy


def _with_progress(steps: Iterable, count: int, checkpoint: Checkpoint) -> Iterable:
    if sum(math.prod(shape) for shape in checkpoint.shapes.values()) < SHOW_PROGRESS_ABOVE:
        return steps
    from rich.progress import track

    return track(steps, description=f"loading {checkpoint.name}", total=count, transient=True)

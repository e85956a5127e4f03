"""Reads weights into a model: every array on both sides is accounted for, and nothing changes unless all fit."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from keras_vit.errors import InputError
from keras_vit.variants import FAMILIES
from keras_vit.weights.architecture import Architecture, describe
from keras_vit.weights.dialects import DIALECTS
from keras_vit.weights.dialects.rows import Row, row
from keras_vit.weights.fit import CLASS_TOKEN, PATCHES, REGISTERS, Fit, Fitting, is_head
from keras_vit.weights.formats import Checkpoint
from keras_vit.weights.source import Source, locate

SHOW_PROGRESS_ABOVE = 250_000_000
"""Parameters; smaller files are read within a few seconds."""
STRIP = 64
"""Columns of a transposed matrix that are copied at a time."""


@dataclass(frozen=True)
class Match:
    """A row of a dialect, and what a file calls its arrays."""

    row: Row
    names: tuple[str, ...]


def load(model: keras.Model, weights: str | os.PathLike | Source) -> list[str]:
    """Loads a checkpoint of any dialect, or a `.keras` model of this package, into a model.

    Positions learned for another image size are resampled, patches of another size resized, channels spread. A
    classifier for another number of classes is left as it was drawn. Nothing is changed in the model unless
    everything else fits.

    Args:
        model: made by `keras_vit.build`.
        weights: as `keras_vit.build` takes them: a tag, a repository, a URL, a file or folder. No code in it is
            executed.

    Returns:
        What had to be adapted, a sentence each; also printed, and kept as `model.adapted_weights`.

    Raises:
        InputError: a missing or unreadable file, or arrays that do not fit, with their names.
        Failure: a download broke off.
    """
    architecture = describe(model)
    source = weights if isinstance(weights, Source) else locate(weights, architecture.variant)
    checkpoint = source.checkpoint
    _check_activation(checkpoint, architecture)
    matches, unknown = recognise(checkpoint, architecture)
    shapes = shapes_of(matches, checkpoint)
    account_for_all(model, checkpoint, matches, unknown)
    fitting = Fitting(model, architecture, shapes, _grid(checkpoint, shapes))
    fits = fitting.fits()
    if fitting.wrong:
        raise InputError(f"{checkpoint.path.name} does not fit {model.name}: {_some(fitting.wrong, '; ')}.")
    _assign(model, checkpoint, matches, fits)
    if fitting.notes:
        print(f"{model.name} from {Path(source.name).name}: {'; '.join(fitting.notes)}.")
    model.adapted_weights = tuple(fitting.notes)
    return fitting.notes


def _check_activation(checkpoint: Checkpoint, architecture: Architecture) -> None:
    """The one thing that a network can differ in without any array showing it."""
    said, variant = checkpoint.metadata.get("activation"), architecture.variant
    if said and said != variant.family.activation and not variant.size.gated:
        others = [
            name for name, family in FAMILIES.items() if family.activation == said and variant.size_name in family.sizes
        ]
        raise InputError(
            f"{checkpoint.path.name} was trained with the activation {said}, and {variant.name} has "
            f"{variant.family.activation}: choose another family, for instance {' or '.join(others[-2:]) or 'vit'}."
        )


def recognise(checkpoint: Checkpoint, architecture: Architecture) -> tuple[list[Match], list[str]]:
    """Finds the dialect of a file by its names and matches the table's rows with them.

    Returns:
        The matches, and the names that no row knows.

    Raises:
        InputError: the names are of no known dialect.
    """
    if PATCHES in checkpoint.shapes:
        return [Match(row(name, name), (name,)) for name in checkpoint.shapes], []
    for dialect in DIALECTS.values():
        names = dialect.canonical(checkpoint.shapes)
        if names is not None:
            return _match(dialect.rows(architecture), names)
    raise InputError(
        f"{checkpoint.path.name} holds no Vision Transformer whose names are known ({_some(list(checkpoint.shapes))}): "
        f"the dialects are {', '.join(DIALECTS)}."
    )


def _match(rows: Iterable[Row], names: Mapping[str, str]) -> tuple[list[Match], list[str]]:
    matches, given, used = [], set(), set()
    for each in rows:
        if given.isdisjoint(each.ours) and all(name in names for name in each.theirs):
            matches.append(Match(each, tuple(names[name] for name in each.theirs)))
            given.update(each.ours)
            used.update(each.theirs)
    return matches, [original for name, original in names.items() if name not in used]


def shapes_of(matches: Iterable[Match], checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """Path of ours -> the shape that the file has for it, without reading anything."""
    shapes = {}
    for match in matches:
        hollow = [np.broadcast_to(np.float32(0), checkpoint.shapes[name]) for name in match.names]
        try:
            arrays = dict(zip(match.row.ours, match.row.read(hollow), strict=True))
        except (ValueError, IndexError) as error:
            described = ", ".join(f"{name} {checkpoint.shapes[name]}" for name in match.names)
            raise InputError(f"{checkpoint.path.name} has arrays of no ViT's shape: {described} ({error}).") from None
        shapes |= {path: array.shape for path, array in arrays.items()}
    return shapes


def account_for_all(model: keras.Model, checkpoint: Checkpoint, matches: list[Match], unknown: list[str]) -> None:
    """Refuses a file with arrays that the model has no variable for, or without some that it needs."""

    def may_differ(path: str) -> bool:
        return is_head(path) or path in (CLASS_TOKEN, REGISTERS)

    paths = {variable.path for variable in model.weights}
    given = {path: match.names for match in matches for path in match.row.ours}
    unknown = unknown + [
        name for path, names in given.items() if path not in paths and not may_differ(path) for name in names
    ]
    missing = [path for path in paths if path not in given and not may_differ(path)]
    if unknown or missing:
        parts = [
            f"{what} {_some(sorted(names))}; " for what, names in (("unknown", unknown), ("missing", missing)) if names
        ]
        raise InputError(
            f"{checkpoint.path.name} does not fit {model.name}: {''.join(parts)}check that family, size, depth and "
            "pooling are those of the file."
        )


def _grid(checkpoint: Checkpoint, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int] | None:
    """(h, w) of the patches that the file's positions are for, where it says its image size."""
    if checkpoint.image_size is None:
        return None
    return tuple(side // patch for side, patch in zip(checkpoint.image_size, shapes[PATCHES][:2], strict=True))


def _assign(model: keras.Model, checkpoint: Checkpoint, matches: list[Match], fits: Mapping[str, Fit]) -> None:
    """Streams one row after the other from the file into its variables."""
    variables = {variable.path: variable for variable in model.weights}
    wanted = [match for match in matches if not fits.keys().isdisjoint(match.row.ours)]

    def fitted(match: Match) -> dict[str, np.ndarray]:
        arrays = match.row.read([checkpoint.read(name) for name in match.names])
        return {
            path: _contiguous(np.asarray(fits[path](array), variables[path].dtype))
            for path, array in zip(match.row.ours, arrays, strict=True)
            if path in fits
        }

    for arrays in _with_progress(_one_ahead(fitted, wanted), len(wanted), checkpoint):
        for path, array in arrays.items():
            variables[path].assign(array)


def _one_ahead(function: Callable, items: Iterable) -> Iterator:
    """Results in order; a thread works on the next one meanwhile, since reading and copying need no interpreter."""
    with ThreadPoolExecutor(1) as reader:
        waiting = deque()
        for item in items:
            waiting.append(reader.submit(function, item))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        yield from (each.result() for each in waiting)


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

    return track(steps, description=f"loading {checkpoint.path.name}", total=count, transient=True)


def _some(names: list[str], separator: str = ", ") -> str:
    more = f"{separator}and {len(names) - 3} more" if len(names) > 3 else ""
    return separator.join(names[:3]) + more

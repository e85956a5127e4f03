"""Reads weights into a model: every array on both sides is accounted for, and nothing changes unless all fit."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from keras_vit.errors import InputError
from keras_vit.weights.architecture import Architecture, describe
from keras_vit.weights.dialects import DIALECTS
from keras_vit.weights.dialects.rows import Row, row
from keras_vit.weights.fit import CLASS_TOKEN, PATCHES, REGISTERS, Fit, Fitting, is_head
from keras_vit.weights.formats import Checkpoint
from keras_vit.weights.source import Source, locate

SHOW_PROGRESS_ABOVE = 250_000_000
"""Parameters; smaller files are read within a few seconds."""


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
    matches, unknown = recognise(checkpoint, architecture)
    shapes = _shapes(matches, checkpoint)
    _account_for_all(model, checkpoint, shapes, unknown)
    fitting = Fitting(model, architecture, shapes, _grid(checkpoint, shapes))
    fits = fitting.fits()
    if fitting.wrong:
        raise InputError(f"{checkpoint.path.name} does not fit {model.name}: {_some(fitting.wrong, '; ')}.")
    _assign(model, checkpoint, matches, fits)
    if fitting.notes:
        print(f"{model.name} from {Path(source.name).name}: {'; '.join(fitting.notes)}.")
    model.adapted_weights = tuple(fitting.notes)
    return fitting.notes


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


def _shapes(matches: Iterable[Match], checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """Path of ours -> the shape that the file has for it, without reading anything."""
    shapes = {}
    for match in matches:
        hollow = [np.broadcast_to(np.float32(0), checkpoint.shapes[name]) for name in match.names]
        try:
            arrays = match.row.read(hollow)
        except (ValueError, IndexError) as error:
            described = ", ".join(f"{name} {checkpoint.shapes[name]}" for name in match.names)
            raise InputError(f"{checkpoint.path.name} has arrays of no ViT's shape: {described} ({error}).") from None
        shapes |= {path: array.shape for path, array in zip(match.row.ours, arrays, strict=True)}
    return shapes


def _account_for_all(model: keras.Model, checkpoint: Checkpoint, shapes: Mapping, unknown: list[str]) -> None:
    def may_differ(path: str) -> bool:
        return is_head(path) or path in (CLASS_TOKEN, REGISTERS)

    paths = {variable.path for variable in model.weights}
    unknown = unknown + [path for path in shapes if path not in paths and not may_differ(path)]
    missing = [path for path in paths if path not in shapes and not may_differ(path)]
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
    for match in _with_progress(wanted, checkpoint):
        arrays = match.row.read([checkpoint.read(name) for name in match.names])
        for path, array in zip(match.row.ours, arrays, strict=True):
            if path in fits:
                variables[path].assign(np.asarray(fits[path](array), variables[path].dtype))


def _with_progress(matches: list[Match], checkpoint: Checkpoint) -> Iterable[Match]:
    if sum(math.prod(shape) for shape in checkpoint.shapes.values()) < SHOW_PROGRESS_ABOVE:
        return matches
    from rich.progress import track

    return track(matches, description=f"loading {checkpoint.path.name}", transient=True)


def _some(names: list[str], separator: str = ", ") -> str:
    more = f"{separator}and {len(names) - 3} more" if len(names) > 3 else ""
    return separator.join(names[:3]) + more

"""Reads weights into a model: every array on both sides is accounted for, and nothing changes unless all fit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import keras
import numpy as np

from keras_vit.errors import InputError
from keras_vit.weights.agreement import check, remarks
from keras_vit.weights.architecture import Architecture, describe, variables_of
from keras_vit.weights.dialects import DIALECTS
from keras_vit.weights.dialects.rows import Row, row
from keras_vit.weights.fit import CLASS_TOKEN, PATCHES, REGISTERS, Fitting, is_head
from keras_vit.weights.formats import Checkpoint
from keras_vit.weights.formats.values import reason
from keras_vit.weights.source import Source, locate
from keras_vit.weights.stream import Match, stream, unchanged_on_failure


def load(model: keras.Model, weights: str | os.PathLike) -> list[str]:
    """Loads a checkpoint of any dialect, or a `.keras` model of this package, into a model.

    Positions learned for another image size are resampled, patches of another size resized, channels spread. A
    classifier for another number of classes is left as it was. Where anything else does not fit, or reading fails,
    the model has the weights that it had; until then both are in memory.

    Args:
        model: made by `keras_vit.build`, trained or not.
        weights: as `keras_vit.build` takes them: a tag, a repository, a URL, a file or folder. No code in it is
            executed.

    Returns:
        What had to be adapted, a sentence each; also printed, and kept as `model.adapted_weights`.

    Raises:
        InputError: a missing or unreadable file, arrays that do not fit, with their names, or that hold no numbers.
        Failure: a download broke off, or the file changed while it was read.
    """
    source = locate(weights, describe(model).variant)
    with unchanged_on_failure(model):
        return fill(model, source)


def fill(model: keras.Model, source: Source) -> list[str]:
    """As `load`, for weights that were located already and a model that is worth nothing without them.

    Where reading fails in the middle, the model is left half filled.

    Args:
        model: made by `keras_vit.build`.
        source: what `locate` found.

    Returns:
        What had to be adapted, a sentence each; also printed, and kept as `model.adapted_weights`.

    Raises:
        InputError: arrays that do not fit, with their names, or that hold no numbers.
        Failure: the file changed while it was read.
    """
    architecture, checkpoint = describe(model), source.checkpoint
    check(checkpoint, architecture)
    matches, unknown = recognise(checkpoint, architecture)
    shapes = shapes_of(matches, checkpoint)
    account_for_all(model, checkpoint, matches, unknown)
    fitting = Fitting(model, architecture, shapes, _grid(checkpoint, shapes))
    fits = fitting.fits()
    if fitting.wrong:
        raise InputError(f"{checkpoint.name} does not fit {model.name}: {_some(fitting.wrong, '; ')}.")
    stream(model, checkpoint, matches, fits)
    read = {name for match in matches for name in match.row.theirs}
    notes = [*fitting.notes, *remarks(checkpoint, architecture, read, classifies="head/kernel" in fits)]
    if notes:
        print(f"{model.name} from {source.label}: {'; '.join(notes)}.")
    model.adapted_weights = tuple(notes)
    return notes


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
        f"{checkpoint.name} holds no Vision Transformer whose names are known ({_some(list(checkpoint.shapes))}): "
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
        try:
            hollow = [np.broadcast_to(np.float32(0), checkpoint.shapes[name]) for name in match.names]
            arrays = dict(zip(match.row.ours, match.row.read(hollow), strict=True))
        except (ValueError, IndexError, TypeError, OverflowError) as error:
            described = _some([f"{name} {checkpoint.shapes[name]!s:.80}" for name in match.names])
            raise InputError(
                f"{checkpoint.name} has arrays of no ViT's shape: {described} ({reason(error)})."
            ) from None
        shapes |= {path: array.shape for path, array in arrays.items()}
    return shapes


def account_for_all(model: keras.Model, checkpoint: Checkpoint, matches: list[Match], unknown: list[str]) -> None:
    """Refuses a file with arrays that the model has no variable for, or without some that it needs."""

    def may_differ(path: str) -> bool:
        return is_head(path) or path in (CLASS_TOKEN, REGISTERS)

    paths = variables_of(model)
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
            f"{checkpoint.name} does not fit {model.name}: {''.join(parts)}check that family, size, depth and "
            "pooling are those of the file."
        )


def _grid(checkpoint: Checkpoint, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int] | None:
    """(h, w) of the patches that the file's positions are for, where it says its image size."""
    patch = shapes[PATCHES][:2]
    if checkpoint.image_size is None or len(patch) != 2 or 0 in patch:
        return None
    # Dense models fill the image up to whole patches.
    return tuple(-(-side // step) for side, step in zip(checkpoint.image_size, patch, strict=True))


def _some(names: list[str], separator: str = ", ") -> str:
    more = f"{separator}and {len(names) - 3} more" if len(names) > 3 else ""
    return separator.join(names[:3]) + more

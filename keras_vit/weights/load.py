"""Reads a weights file into a model: every array on both sides is accounted for."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from keras_vit.errors import InputError
from keras_vit.layers import EncoderBlock, PositionEmbedding
from keras_vit.weights.timm import name_map
from keras_vit.weights.transforms import SAME, Layout

POSITIONS = "position_embedding/embedding"
HEAD = ("head/kernel", "head/bias")


def load(model: keras.Model, path: str | Path) -> list[str]:
    """Loads a `.safetensors` file with timm's names, or a `.keras` model of this package, into a model.

    Positions learned for another image size are resampled. A classifier for another number of classes is left as it
    was drawn. Nothing is changed in the model unless everything else fits.

    Args:
        model: made by `keras_vit.build`.
        path: of the file. No code in it is executed.

    Returns:
        What had to be adapted, a sentence each; also printed.

    Raises:
        InputError: a missing or unreadable file, or arrays that do not fit, with their names.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no weights file {path}: check the path.")
    readers = {".safetensors": _read_safetensors, ".keras": _read_keras}
    if path.suffix not in readers:
        raise InputError(f"Weights are read from {' or '.join(readers)} files, not from {path.name}.")
    return readers[path.suffix](model, path)


def _read_safetensors(model: keras.Model, path: Path) -> list[str]:
    from safetensors import SafetensorError, safe_open

    depth = sum(isinstance(layer, EncoderBlock) for layer in model.layers)
    try:
        with safe_open(path, framework="numpy") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            return _assign(model, path, name_map(depth), shapes, file.get_tensor)
    except SafetensorError as error:
        raise InputError(f"{path} is not a readable safetensors file ({error}): fetch it again.") from None


def _read_keras(model: keras.Model, path: Path) -> list[str]:
    try:
        source = keras.saving.load_model(path, compile=False)
    except (ValueError, OSError, TypeError, KeyError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{path} is not a readable .keras model of this package ({reason}).") from None
    arrays = {variable.path: variable for variable in source.weights}
    return _assign(
        model,
        path,
        {name: (name, SAME) for name in {v.path for v in model.weights} | set(arrays)},
        {name: tuple(variable.shape) for name, variable in arrays.items()},
        lambda name: np.asarray(arrays[name]),
        next((layer.grid for layer in source.layers if isinstance(layer, PositionEmbedding)), None),
    )


def _assign(
    model: keras.Model,
    path: Path,
    names: dict[str, tuple[str, Layout]],
    shapes: dict[str, tuple[int, ...]],
    read: Callable[[str], np.ndarray],
    grid: tuple[int, int] | None = None,
) -> list[str]:
    """Checks all names and shapes, then streams one array after the other into its variable."""
    variables = {variable.path: variable for variable in model.weights}
    ours = {theirs: path for theirs, (path, _) in names.items()}
    unknown = [name for name in shapes if ours.get(name) not in variables and ours.get(name) not in HEAD]
    given = {ours[name] for name in shapes if name in ours}
    missing = [name for name in variables if name not in given and name not in HEAD]
    if unknown or missing:
        raise InputError(
            f"{path.name} does not fit {model.name}: {_list('unknown', unknown)}{_list('missing', missing)}"
            "check that architecture, depth and pooling are those of the file."
        )

    notes, plan, wrong = [], [], []
    layers = {layer.name: layer for layer in model.layers}
    for theirs, shape in shapes.items():
        target, layout = names[theirs]
        if target not in variables:
            continue
        wanted, found = tuple(variables[target].shape), layout.read(np.broadcast_to(np.float32(0), shape)).shape
        if target == POSITIONS and found[-1] == wanted[-1]:
            positions = layers["position_embedding"]
            old_grid = grid or _square_grid(found[0] - positions.prefix, path)
            if old_grid != positions.grid:
                notes.append(f"positions resampled from a {_by(old_grid)} to a {_by(positions.grid)} grid")
            plan.append((theirs, layout, lambda table, to=positions, old=old_grid: to.assign_from(table, old)))
        elif found == wanted:
            plan.append((theirs, layout, variables[target].assign))
        elif target not in HEAD:
            wrong.append(f"{theirs} {found} where {wanted} is needed")
    if wrong:
        raise InputError(
            f"{path.name} does not fit {model.name}: {'; '.join(wrong[:3])}"
            f"{f'; and {len(wrong) - 3} more' if len(wrong) > 3 else ''}."
        )

    loaded = {names[theirs][0] for theirs, _, _ in plan}
    if any(name in variables and name not in loaded for name in HEAD):
        notes.append(f"the classifier is fresh: the file has none for {variables[HEAD[0]].shape[-1]} classes")
    elif not any(name in variables for name in HEAD) and given & set(HEAD):
        notes.append("the file's classifier is left out")
    for theirs, layout, assign in plan:
        assign(layout.read(read(theirs)))
    if notes:
        print(f"{model.name} from {path.name}: {'; '.join(notes)}.")
    return notes


def _square_grid(patches: int, path: Path) -> tuple[int, int]:
    side = math.isqrt(max(patches, 0))
    if not side or side * side != patches:
        raise InputError(f"{path.name} has positions for {patches} patches, which is no square grid.")
    return side, side


def _by(grid: tuple[int, int]) -> str:
    return f"{grid[0]} x {grid[1]}"


def _list(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{what} {', '.join(names[:3])}{more}; "

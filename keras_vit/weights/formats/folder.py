"""Folders as Hugging Face, timm and our own runs make them: a weights file, or shards of one, beside settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from keras_vit.errors import InputError
from keras_vit.weights.formats.checkpoint import LONGEST_NAME, Checkpoint
from keras_vit.weights.formats.settings import read_json, read_settings

WEIGHTS = "model.safetensors"
INDEX = ".index.json"
Opener = Callable[[Path], Checkpoint]


def open_folder(path: Path, formats: Mapping[str, Opener]) -> Checkpoint:
    """Opens the weights in a folder, without reading the arrays.

    `model.safetensors` is taken, or else what an index (`model.safetensors.index.json`) lists, or else the one file of
    the first format that there is a file of. `config.json` and `preprocessor_config.json` (Hugging Face's, or timm's
    one file) say the image size and the preprocessing, where the weights file does not say them itself.

    Args:
        path: of the folder.
        formats: file ending -> what opens it, the preferred ending first.

    Raises:
        InputError: no weights in the folder, several that could be meant, a shard that is missing or lies elsewhere,
            or a damaged file.
    """
    settings = read_settings(path)
    index = sorted(path.glob(f"*{INDEX}"))
    if (path / WEIGHTS).is_file():
        checkpoint = formats[".safetensors"](path / WEIGHTS)
    elif index:
        checkpoint = _open_shards(index[0], formats)
    else:
        file = _only_file(path, formats)
        checkpoint = formats[file.suffix](file)
    # What we wrote into the file itself says more than other libraries' settings can.
    return Checkpoint(path, checkpoint.shapes, checkpoint.read, {**settings, **checkpoint.metadata})


def _only_file(folder: Path, formats: Mapping[str, Opener]) -> Path:
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    for ending in formats:
        found = [file for file in files if file.suffix == ending]
        if len(found) > 1:
            names = ", ".join(file.name for file in found[:4])
            raise InputError(f"{folder} has several weights files ({names}): give the path of one of them.")
        if found:
            return found[0]
    raise InputError(
        f"{folder} has no weights: it needs {WEIGHTS}, an index of shards, or one file ending with "
        f"{', '.join(formats)}."
    )


def _open_shards(index: Path, formats: Mapping[str, Opener]) -> Checkpoint:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places or not all(map(_is_name, [*places, *places.values()])):
        raise InputError(f"{index} does not say in which file which array is: fetch it again.")
    shards = {name: _open_shard(index, name, formats) for name in sorted(set(places.values()))}
    for array, name in places.items():
        if array not in shards[name].shapes:
            raise InputError(f"{index.parent / name} does not hold {array}, as {index.name} says: fetch both again.")
    for name, shard in shards.items():
        for array in shard.shapes:
            if places.get(array) != name:
                raise InputError(f"{index.parent / name} holds {array}, unlike {index.name} says: fetch both again.")

    def read(array: str) -> np.ndarray:
        return shards[places[array]].read(array)

    return Checkpoint(index.parent, {array: shards[name].shapes[array] for array, name in places.items()}, read)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name.isprintable() and len(name) <= LONGEST_NAME


def _open_shard(index: Path, name: str, formats: Mapping[str, Opener]) -> Checkpoint:
    # An index is fetched from somewhere: it may not make us open files elsewhere on this machine.
    if Path(name).name != name or "\\" in name:
        raise InputError(f"{index} names a file outside its folder ({name}), which is not opened.")
    path = index.parent / name
    if not path.is_file():
        raise InputError(f"{index.name} lists {name}, which is not in {index.parent}: fetch it as well.")
    if path.suffix not in formats:
        raise InputError(f"{index} lists {name}: weights are read from {', '.join(formats)} files.")
    return formats[path.suffix](path)

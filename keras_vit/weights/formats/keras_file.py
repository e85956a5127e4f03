"""`.keras` models of this package, whose arrays have our own names: read from the archive, without a second model.

The archive (Keras 3) holds a configuration and `model.weights.h5`, both uncompressed. In the latter a layer of the
model lies under its class and number (`layers/encoder_block_1`), layers within it under their attributes (those of a
list again under class and number), and variables under their number or, where the layer writes them itself, their name.
"""

from __future__ import annotations

import io
import json
import os
import re
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np

from keras_vit.errors import InputError
from keras_vit.weights.architecture import describe, variables_of
from keras_vit.weights.formats.checkpoint import Checkpoint, metadata_of
from keras_vit.weights.formats.plain import plain_reader
from keras_vit.weights.formats.values import reason

WEIGHTS, CONFIG = "model.weights.h5", "config.json"
LOCAL_HEADER = struct.Struct("<26xHH")
"""What stands before a member of a zip file: at its end, the lengths of a name and of an extra field behind it."""

OF_KERAS = ("Functional", "InputLayer", "Dense", "Dropout", "LayerNormalization", "Average", "ZeroPadding2D")
OF_KERAS += ("DTypePolicy", "Zeros", "Ones", "__keras_tensor__")
"""What a model of this package is made of beside its own classes."""

Entry = tuple[np.dtype, tuple[int, ...], int]


def open_keras(path: Path) -> Checkpoint:
    """Opens a `.keras` file. No code in it is executed, whatever Keras has been told about unsafe files.

    Raises:
        InputError: it is no `.keras` model of this package, or damaged.
    """
    read_plain = plain_reader(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                raise zipfile.BadZipFile("it is compressed, which Keras does not do")
            if wrong := archive.testzip():
                raise zipfile.BadZipFile(f"{wrong} has a wrong checksum")
            config = json.loads(archive.read(CONFIG))
            info = archive.getinfo(WEIGHTS)
        skeleton = _skeleton(config)
        architecture = describe(skeleton)
        with path.open("rb") as file:
            entries = _entries(skeleton, _Part(file, info))
    except Exception as error:  # A damaged configuration makes Keras raise nearly anything.
        raise InputError(
            f"{path} is not a readable .keras model of this package ({reason(error)}): save it again with model.save."
        ) from None

    def read(name: str) -> np.ndarray:
        return read_plain(*entries[name])

    shapes = {name: shape for name, (_, shape, _) in entries.items()}
    return Checkpoint(path, shapes, read, metadata_of(architecture))


def _skeleton(config: dict) -> keras.Model:
    """The model with variables that take no memory: their names and shapes are all that is needed."""
    config["compile_config"] = None
    if strangers := set(_strangers(config)):
        raise ValueError(f"it has a {min(strangers)}, which no model of this package has")

    def make() -> keras.Model:
        with keras.StatelessScope(initialize_variables=False):
            return keras.saving.deserialize_keras_object(config, safe_mode=True)

    # Keras keeps its scopes by thread, and also the variables that it has not drawn yet: those of the skeleton would
    # be drawn, and take their memory, when the next model is built.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(make).result()


def _strangers(config: Any) -> Iterator[str]:
    """Classes that are neither ours nor harmless: Keras has layers that execute code, or read other files."""
    if isinstance(config, dict):
        name = config.get("class_name")
        ours = str(config.get("registered_name")).startswith("keras_vit>")
        if (
            name
            and name not in OF_KERAS
            and not (ours and keras.saving.get_registered_object(config["registered_name"]))
        ):
            yield str(name)
    for each in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from _strangers(each)


def _entries(skeleton: keras.Model, weights: _Part) -> dict[str, Entry]:
    """Path of a variable -> type, shape and offset of its array in the file."""
    import h5py

    places, count, entries = _places(skeleton), Counter(), {}
    with h5py.File(weights, "r") as file:
        for path, variable in variables_of(skeleton).items():
            layer, _, name = variable.path.rpartition("/")
            group = file[f"{places[layer]}/vars"]
            array = group[name if name in group else str(count[layer])]
            count[layer] += 1
            offset = array.id.get_offset()
            dtype = np.dtype(ml_dtypes.bfloat16) if array.attrs.get("dtype") == "bfloat16" else array.dtype
            # A link may lead into another file; what is compressed or was never written has no offset.
            if array.file != file or offset is None or offset + array.size * dtype.itemsize > weights.size:
                raise ValueError(f"{path} does not lie within the file")
            if array.shape != tuple(variable.shape):
                raise ValueError(f"{path} is {array.shape}, and its layer has {tuple(variable.shape)}")
            entries[path] = dtype, array.shape, weights.begin + offset
    return entries


def _places(skeleton: keras.Model) -> dict[str, str]:
    """Path of a layer -> the group of the file that it lies in."""
    places = {}

    def visit(layer: keras.Layer, place: str) -> None:
        places[layer.path] = place
        # On PyTorch, layers within a layer are not among its attributes.
        for attribute, child in (vars(layer) | vars(layer).get("_modules", {})).items():
            if isinstance(child, keras.Layer):
                visit(child, f"{place}/{attribute}")
            elif isinstance(child, list) and not attribute.startswith("_"):
                visit_all(child, f"{place}/{attribute}")

    def visit_all(layers: list, place: str) -> None:
        count = Counter()
        for layer in (each for each in layers if isinstance(each, keras.Layer)):
            kind = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", type(layer).__name__).lower()
            visit(layer, f"{place}/{kind}_{count[kind]}" if count[kind] else f"{place}/{kind}")
            count[kind] += 1

    visit_all(skeleton.layers, "layers")
    return places


class _Part(io.RawIOBase):
    """A member of a zip file as a file of its own, without a copy; `zipfile` goes back by reading from the start."""

    def __init__(self, file: io.BufferedReader, info: zipfile.ZipInfo):
        file.seek(info.header_offset)
        self.begin = info.header_offset + LOCAL_HEADER.size + sum(LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size)))
        self.size = info.file_size
        self.file = file
        self.position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        return self.position

    def readinto(self, buffer) -> int:
        self.file.seek(self.begin + self.position)
        count = self.file.readinto(memoryview(buffer)[: max(self.size - self.position, 0)])
        self.position += count
        return count

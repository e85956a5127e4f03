"""A `.tflite` file as a container: named buffers inside the model, and small files in a zip archive behind it.

Both are how TFLite files carry what is not the network; see "TFLite Model Metadata" in TensorFlow's documentation.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import flatbuffers
from flatbuffers.number_types import Uint32Flags, Uint64Flags
from flatbuffers.table import Table

from keras_vit.errors import InputError
from keras_vit.files import atomic

IDENTIFIER = b"TFL3"

# Slots of the tables Model, Buffer and Metadata in TensorFlow's schema.fbs. All of a Model's are offsets but the first.
_VERSION, _BUFFERS, _METADATA = 0, 4, 6
_MODEL_SLOTS = 10
_DATA, _OUTSIDE = 0, 1
_NAME, _INDEX = 0, 1

_ALIGNMENT = 16
_CHUNK = 1 << 24


@contextmanager
def opened(path: Path) -> Iterator[mmap.mmap]:
    """The bytes of a TFLite file, read from disk where they are looked at.

    Raises:
        InputError: the file is missing or is no TFLite file.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content[4:8] != IDENTIFIER:
                raise InputError(f"{path} is not a TFLite file: give a .tflite file that was exported.")
            yield content
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a .tflite file that was exported.") from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is empty or damaged: export it again.") from error
    except (struct.error, IndexError) as error:
        raise InputError(f"{path} is damaged: export it again.") from error


def read_buffer(path: Path, name: str) -> bytes | None:
    """The named buffer of a TFLite file, or None where it has none of that name.

    Raises:
        InputError: see `opened`.
    """
    with opened(path) as content:
        model = _Model.of(content)
        entry = model.entry(name)
        return None if entry is None else _bytes(content, model.buffers[model.index(entry)], _DATA)


def read_files(path: Path) -> dict[str, bytes]:
    """The files in the archive behind a TFLite model, by name; empty where it has none.

    Raises:
        InputError: the archive is damaged.
    """
    if not zipfile.is_zipfile(path):
        return {}
    try:
        with zipfile.ZipFile(path) as archive:
            return {info.filename: archive.read(info) for info in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError(f"The archive of labels in {path} is damaged ({error}): export the file again.") from error


def write_parts(path: Path, name: str, buffer: bytes, files: Mapping[str, bytes]) -> None:
    """Gives a TFLite file a named buffer and an archive of files, in place of those of the same names.

    The model's bytes are not touched: weights keep their alignment, and nothing else that the file says is lost. What
    is new is written before them, since the offsets in a FlatBuffer point forward, from a new root to the old parts.
    Files of any size are copied in pieces. The bytes of a buffer or a root that was replaced stay in the file, unused.

    Args:
        path: of the file; it is replaced whole or not at all.
        name: of the buffer.
        buffer: its content.
        files: name -> content.

    Raises:
        InputError: the file cannot be read or written, is damaged, or is one above 2 GB that keeps its weights outside
            of the model.
    """
    files = read_files(path) | dict(files)
    with atomic(path) as temporary:
        with opened(path) as content, temporary.open("wb") as out:
            end = _end_of_model(path, len(content))
            out.write(_front(_Model.of(content), name, buffer, path))
            for start in range(0, end, _CHUNK):
                out.write(content[start : min(end, start + _CHUNK)])
        with zipfile.ZipFile(temporary, "a") as archive:
            for file, data in files.items():
                # Stored, because readers map these bytes; without the time of day, so that equal exports are equal
                # files.
                archive.writestr(zipfile.ZipInfo(file, date_time=(1980, 1, 1, 0, 0, 0)), data)
        shutil.copymode(path, temporary)


@dataclass(frozen=True)
class _Model:
    """The parts of a model that are to be replaced.

    Attributes:
        root: the table `Model`.
        buffers: positions of the tables `Buffer`.
        metadata: positions of the tables `Metadata`, each a name and the index of a buffer.
    """

    root: Table
    buffers: list[int]
    metadata: list[int]

    @classmethod
    def of(cls, content: mmap.mmap) -> _Model:
        root = Table(content, Table(content, 0).Indirect(0))
        return cls(root, _elements(root, _BUFFERS), _elements(root, _METADATA))

    def entry(self, name: str) -> int | None:
        """Position of the `Metadata` of that name."""
        wanted = name.encode()
        return next((entry for entry in self.metadata if _bytes(self.root.Bytes, entry, _NAME) == wanted), None)

    def index(self, entry: int) -> int:
        """Which buffer a `Metadata` names."""
        return _number(self.root.Bytes, entry, _INDEX, Uint32Flags)


def _front(model: _Model, name: str, buffer: bytes, path: Path) -> bytes:
    """What comes before the old bytes: a root that points to the old parts, but to a new list of buffers and of names.

    A FlatBuffer is built from its end, where the old bytes begin, and places are counted from there: the place of
    something at `position` in the old bytes is `-position`.
    """
    content = model.root.Bytes
    if any(_number(content, position, _OUTSIDE, Uint64Flags) > 1 for position in model.buffers):
        raise InputError(f"{path} keeps its weights outside of the model, as files above 2 GB do: quantise it first.")
    if model.root.Offset(4 + 2 * _MODEL_SLOTS):
        raise InputError(f"{path} is of a newer kind of TFLite than this version knows: export it again.")
    buffers, entries = ([-position for position in old] for old in (model.buffers, model.metadata))
    entry = model.entry(name)
    index = len(buffers) if entry is None else model.index(entry)

    builder = flatbuffers.Builder()
    builder.Prep(_ALIGNMENT, 0)
    data = _byte_vector(builder, buffer)
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(_DATA, data, 0)
    buffers[index : index + 1] = [builder.EndObject()]

    title = builder.CreateString(name)
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(_NAME, title, 0)
    builder.PrependUint32Slot(_INDEX, index, 0)
    entries = [builder.EndObject(), *(old for old in entries if entry is None or old != -entry)]

    parts = {slot: -place for slot in range(1, _MODEL_SLOTS) if (place := _target(model.root, slot))}
    parts |= {_BUFFERS: _offset_vector(builder, buffers), _METADATA: _offset_vector(builder, entries)}
    builder.StartObject(_MODEL_SLOTS)
    builder.PrependUint32Slot(_VERSION, _number(content, model.root.Pos, _VERSION, Uint32Flags), 0)
    for slot, place in parts.items():
        builder.PrependUOffsetTRelativeSlot(slot, place, 0)
    builder.Finish(builder.EndObject(), IDENTIFIER)
    return bytes(builder.Output())


def _byte_vector(builder: flatbuffers.Builder, content: bytes) -> int:
    builder.StartVector(1, len(content), _ALIGNMENT)
    for byte in reversed(content):
        builder.PrependByte(byte)
    return builder.EndVector()


def _offset_vector(builder: flatbuffers.Builder, places: list[int]) -> int:
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):
        builder.PrependUOffsetTRelative(place)
    return builder.EndVector()


def _end_of_model(path: Path, size: int) -> int:
    """Where the archive behind the model begins, or the file's size where there is none."""
    if not zipfile.is_zipfile(path):
        return size
    with zipfile.ZipFile(path) as archive:
        return min((info.header_offset for info in archive.infolist()), default=archive.start_dir)


def _target(table: Table, slot: int) -> int | None:
    """Position of what the offset in a slot points to."""
    offset = table.Offset(4 + 2 * slot)
    return table.Indirect(table.Pos + offset) if offset else None


def _elements(table: Table, slot: int) -> list[int]:
    """Positions of the tables in a vector of tables."""
    vector = _target(table, slot)
    if vector is None:
        return []
    return [table.Indirect(vector + 4 + 4 * i) for i in range(table.Get(Uint32Flags, vector))]


def _bytes(content: mmap.mmap, position: int, slot: int) -> bytes:
    """The string or the vector of bytes in a slot of the table at a position."""
    table = Table(content, position)
    offset = table.Offset(4 + 2 * slot)
    return table.String(position + offset) if offset else b""


def _number(content: mmap.mmap, position: int, slot: int, flags: type) -> int:
    """The whole number in a slot of the table at a position."""
    table = Table(content, position)
    offset = table.Offset(4 + 2 * slot)
    return table.Get(flags, position + offset) if offset else 0

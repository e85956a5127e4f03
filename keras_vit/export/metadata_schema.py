"""The metadata that MediaPipe Tasks read, as FlatBuffers: THE table of its fields, and how to pack and unpack it.

It is the part of MediaPipe's `metadata_schema.fbs` (1.5.0) that vision tasks use. Written here because neither
TensorFlow nor LiteRT ship the schema and MediaPipe, which does, is a large package to need for a few strings.
"""

from __future__ import annotations

import struct

import flatbuffers
from flatbuffers import number_types
from flatbuffers.table import Table

IDENTIFIER = b"M001"
PARSER_VERSION = "1.0.0"
"""The oldest reader of the schema that knows every field that the table `TABLES` writes, but `custom_metadata`."""

LABELS_FILE = 2
"""`AssociatedFileType.TENSOR_AXIS_LABELS`: line i of the file names index i of the tensor's last axis."""

SEGMENTER = "SEGMENTER_METADATA"
"""Name of the custom metadata by which MediaPipe knows a segmenter."""
_SEGMENTER_IDENTIFIER = b"V001"

COLOUR_SPACES = {3: 1, 1: 2}
"""Number of channels -> `ColorSpaceType`: RGB, GRAYSCALE."""

_SCALARS = {
    "byte": number_types.Int8Flags,
    "ubyte": number_types.Uint8Flags,
    "uint": number_types.Uint32Flags,
    "float": number_types.Float32Flags,
}

# A list is a vector. A dictionary is a union: the number of each member that may stand there; it takes two slots.
_CONTENT = {1: "FeatureProperties", 2: "ImageProperties", 3: "BoundingBoxProperties"}
_OPTIONS = {1: "NormalizationOptions"}

TABLES = {
    "ModelMetadata": {
        "name": (0, "string"),
        "description": (1, "string"),
        "version": (2, "string"),
        "subgraph_metadata": (3, ["SubGraphMetadata"]),
        "author": (4, "string"),
        "license": (5, "string"),
        "associated_files": (6, ["AssociatedFile"]),
        "min_parser_version": (7, "string"),
    },
    "SubGraphMetadata": {
        "input_tensor_metadata": (2, ["TensorMetadata"]),
        "output_tensor_metadata": (3, ["TensorMetadata"]),
        "custom_metadata": (9, ["CustomMetadata"]),
    },
    "TensorMetadata": {
        "name": (0, "string"),
        "description": (1, "string"),
        "content": (3, "Content"),
        "process_units": (4, ["ProcessUnit"]),
        "stats": (5, "Stats"),
        "associated_files": (6, ["AssociatedFile"]),
    },
    "CustomMetadata": {"name": (0, "string"), "data": (1, ["ubyte"])},
    "AssociatedFile": {"name": (0, "string"), "description": (1, "string"), "type": (2, "byte")},
    "Content": {"properties": (0, _CONTENT)},
    "FeatureProperties": {},
    "ImageProperties": {"color_space": (0, "byte")},
    "BoundingBoxProperties": {"index": (0, ["uint"]), "type": (1, "byte"), "coordinate_type": (2, "byte")},
    "ProcessUnit": {"options": (0, _OPTIONS)},
    "NormalizationOptions": {"mean": (0, ["float"]), "std": (1, ["float"])},
    "Stats": {"max": (0, ["float"]), "min": (1, ["float"])},
}
"""Table -> field -> its slot and kind. A record of a table is a dictionary of some of its fields; the value of a union
is a dictionary with the member's name as its one key."""


def pack(record: dict) -> bytes:
    """The FlatBuffer of a `ModelMetadata` record.

    Raises:
        KeyError: a field that the table has not.
    """
    builder = flatbuffers.Builder()
    builder.Finish(_pack(builder, "ModelMetadata", record), IDENTIFIER)
    return bytes(builder.Output())


def unpack(content: bytes) -> dict:
    """The `ModelMetadata` record of a FlatBuffer: the fields that it has and the table `TABLES` knows.

    Raises:
        ValueError: the bytes are damaged or something else.
    """
    if content[4:8] != IDENTIFIER:
        raise ValueError("not a ModelMetadata buffer")
    try:
        return _unpack(_table(content, 0), "ModelMetadata")
    except (struct.error, IndexError, TypeError, OverflowError) as error:
        raise ValueError("a damaged ModelMetadata buffer") from error


def segmenter_options() -> bytes:
    """The FlatBuffer of MediaPipe's `ImageSegmenterOptions` for scores that are probabilities already."""
    builder = flatbuffers.Builder()
    version = builder.CreateString(PARSER_VERSION)
    builder.StartObject(2)
    # Slot 0, the activation that is still to be applied, is left at its default: none.
    builder.PrependUOffsetTRelativeSlot(1, version, 0)
    builder.Finish(builder.EndObject(), _SEGMENTER_IDENTIFIER)
    return bytes(builder.Output())


def _pack(builder: flatbuffers.Builder, table: str, record: dict) -> int:
    # Whatever a table points to has to be written before the table itself is begun.
    slots = {}
    for name, value in record.items():
        slot, kind = TABLES[table][name]
        if isinstance(kind, dict):
            [(member, content)] = value.items()
            slots[slot] = "ubyte", next(number for number, known in kind.items() if known == member)
            slots[slot + 1] = member, _pack(builder, member, content)
        else:
            slots[slot] = kind, value if _is_scalar(kind) else _pack_value(builder, kind, value)
    builder.StartObject(max(slots, default=-1) + 1)
    for slot, (kind, value) in slots.items():
        if _is_scalar(kind):
            builder.PrependSlot(_SCALARS[kind], slot, value, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, value, 0)
    return builder.EndObject()


def _pack_value(builder: flatbuffers.Builder, kind: str | list, value) -> int:
    if kind == "string":
        return builder.CreateString(value)
    if isinstance(kind, str):
        return _pack(builder, kind, value)
    scalar = _SCALARS.get(kind[0])
    items = value if scalar else [_pack_value(builder, kind[0], item) for item in value]
    width = scalar.bytewidth if scalar else 4
    builder.StartVector(width, len(items), width)
    for item in reversed(items):
        if scalar:
            builder.Prepend(scalar, item)
        else:
            builder.PrependUOffsetTRelative(item)
    return builder.EndVector()


def _unpack(table: Table, kind: str) -> dict:
    record = {}
    for name, (slot, field) in TABLES[kind].items():
        offset = _offset(table, slot)
        if not offset:
            continue
        if not isinstance(field, dict):
            record[name] = _unpack_value(table, field, table.Pos + offset)
        elif member := field.get(table.Get(_SCALARS["ubyte"], table.Pos + offset)):
            record[name] = {member: _unpack_value(table, member, table.Pos + _offset(table, slot + 1))}
    return record


def _unpack_value(table: Table, kind: str | list, position: int):
    if _is_scalar(kind):
        return table.Get(_SCALARS[kind], position)
    if kind == "string":
        return table.String(position).decode("utf-8", "replace")
    if isinstance(kind, str):
        return _unpack(_table(table.Bytes, position), kind)
    start = table.Indirect(position)
    width = _SCALARS[kind[0]].bytewidth if _is_scalar(kind[0]) else 4
    length = table.Get(_SCALARS["uint"], start)
    return [_unpack_value(table, kind[0], start + 4 + width * index) for index in range(length)]


def _table(content: bytes, position: int) -> Table:
    """The table that the offset at `position` points to."""
    return Table(content, Table(content, position).Indirect(position))


def _offset(table: Table, slot: int) -> int:
    return table.Offset(4 + 2 * slot)


def _is_scalar(kind) -> bool:
    return isinstance(kind, str) and kind in _SCALARS

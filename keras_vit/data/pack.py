"""A data set as a folder of TFRecord shards: a few large files instead of many small ones.

The folder holds `index.json` and the shards. A record is a `tf.train.Example` with `image` (the encoded bytes as they
were), `label` and `name`; the index says where in its shard each record's image lies, so that any image is one read.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf import message

from keras_vit.data.examples import SPLITS, Data, Examples, Source
from keras_vit.data.threads import in_threads
from keras_vit.errors import InputError

INDEX = "index.json"
_FORMAT = "keras_vit-pack-1"
_SHARD_BYTES = 128 * 2**20
# TFRecord: 8 bytes of length, 4 of its checksum, the data, 4 of the data's checksum.
_HEAD, _TAIL = 12, 4


def pack(data: Data, out: str | Path, *, shard_bytes: int = _SHARD_BYTES, progress: bool = True) -> Path:
    """Writes checked data of one class an image as TFRecord shards.

    Args:
        data: what `load` gives; its splits are kept.
        out: a folder that does not exist yet; it appears whole or not at all.
        shard_bytes: a shard ends with the record that reaches this size.
        progress: show a progress bar when it takes longer than a second.

    Returns:
        The folder.

    Raises:
        InputError: the labels are masks or boxes, images are no files but arrays, or the folder exists or cannot be
            written.
    """
    out = Path(out)
    for examples in data.splits.values():
        if not isinstance(examples.labels, np.ndarray):
            raise InputError("Masks and boxes cannot be packed: packing is for data with one class an image.")
        if examples.images is not None:
            raise InputError(
                f"{data.spec} is an array already, which packing would not make faster: train on it as is."
            )
    if out.exists():
        raise InputError(f"{out} exists: choose a folder that does not.")
    partial = out.with_name(f".partial-{out.name}")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        splits = {name: _write(name, data.splits[name], partial, shard_bytes, progress) for name in data.splits}
        index = {
            "format": _FORMAT,
            "class_names": data.class_names,
            "fingerprint": data.fingerprint,
            "spec": data.spec,
            "splits": splits,
        }
        (partial / INDEX).write_text(json.dumps(index), encoding="utf-8")
        partial.rename(out)
    except (OSError, tf.errors.OpError) as error:  # of the index; of the shards
        reason = getattr(error, "strerror", None) or getattr(error, "message", error)
        raise InputError(f"{out} cannot be written ({reason}): choose a folder with free space.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def read_pack(folder: Path) -> Source:
    """Reads what `pack` wrote; images are read one by one when asked for.

    Raises:
        InputError: the index is damaged, or a shard is missing or not as long as it was.
    """
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index["format"] != _FORMAT:
            raise KeyError(index["format"])
        names, described = index["class_names"], index["splits"]
        splits = {name: _examples(folder, described[name]) for name in SPLITS if name in described}
    except InputError:  # of a shard; it is a ValueError too
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / INDEX} is damaged or of another version: pack the data again.") from error
    return Source(splits, names)


def is_pack(folder: Path) -> bool:
    """Whether a folder looks like one that `pack` wrote."""
    return (folder / INDEX).is_file() and next(folder.glob("*.tfrecord"), None) is not None


class PackedImages(Sequence):
    """The encoded images of a split, read from the shards when asked for.

    Args:
        shards: the files.
        places: (n, 3) int64: shard, offset of the record, and its length in bytes.
        digests: BLAKE2b of each image, 16 bytes in hex, by which damage is noticed.
    """

    def __init__(self, shards: list[Path], places: np.ndarray, digests: list[str]):
        self.shards, self.places, self.digests = shards, places, digests

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> bytes:
        shard, offset, length = self.places[index].tolist()
        with self.shards[shard].open("rb") as file:
            file.seek(offset)
            record = file.read(length)
        try:
            image = tf.train.Example.FromString(record[_HEAD:-_TAIL]).features.feature["image"].bytes_list.value[0]
            sound = hashlib.blake2b(image, digest_size=16).hexdigest() == self.digests[index]
        except (message.DecodeError, IndexError):
            sound = False
        if not sound:
            raise OSError(f"its record in {self.shards[shard].name} is damaged; pack the data again")
        return image


def _write(split: str, examples: Examples, folder: Path, shard_bytes: int, progress: bool) -> dict:
    shards, places, writer, offset = [], [], None, shard_bytes
    contents = in_threads(
        lambda chunk: [examples.raw(i) for i in chunk], range(len(examples)), f"Packing {split}", progress
    )
    for label, name, content in zip(examples.labels.tolist(), examples.names, contents, strict=True):
        if offset >= shard_bytes:
            if writer:
                writer.close()
            shards.append({"file": f"{split}-{len(shards):05d}.tfrecord"})
            writer, offset = tf.io.TFRecordWriter(str(folder / shards[-1]["file"])), 0
        record = _record(content, label, name)
        writer.write(record)
        length = _HEAD + len(record) + _TAIL
        places.append((len(shards) - 1, offset, length))
        offset += length
        shards[-1]["bytes"] = offset
    writer.close()
    return {
        "count": len(places),
        "shards": shards,
        "labels": examples.labels.tolist(),
        "names": list(examples.names),
        "places": places,
        "digests": examples.digests,
    }


def _record(content: bytes, label: int, name: str) -> bytes:
    def raw(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    number = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
    features = {"image": raw(content), "label": number, "name": raw(name.encode())}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _examples(folder: Path, described: dict) -> Examples:
    shards = [folder / shard["file"] for shard in described["shards"]]
    for path, shard in zip(shards, described["shards"], strict=True):
        if not path.is_file():
            raise InputError(f"{path} is missing: copy the packed folder again, or pack the data again.")
        if path.stat().st_size != shard["bytes"]:
            raise InputError(f"{path} has {path.stat().st_size} bytes and not {shard['bytes']}: copy or pack it again.")
    places = np.array(described["places"], np.int64).reshape(-1, 3)
    return Examples(
        labels=np.array(described["labels"], np.int64),
        encoded=PackedImages(shards, places, described["digests"]),
        item_names=[f"{folder.name}: {name}" for name in described["names"]],
    )

"""TensorFlow Datasets, read image by image so that nothing large is held in memory."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_vit.data.examples import Examples, Source
from keras_vit.data.folder import SPLIT_NAMES
from keras_vit.errors import InputError, suggest

_LENGTH = struct.Struct("<Q")
_AROUND = 8 + 4 + 4  # a TFRecord frames its content with its length (8 bytes) and two checksums (4 bytes each)


class TFRecords(Sequence):
    """Random access to the serialised examples of TFRecord files: only where each one starts is kept in memory.

    Args:
        paths: the files of one split, in order.
    """

    def __init__(self, paths: list[str]):
        self.paths = paths
        self.places = np.array([place for number, path in enumerate(paths) for place in _scan(number, path)], np.int64)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> bytes:
        number, start, length = self.places[index].tolist()
        with open(self.paths[number], "rb") as stream:
            stream.seek(start)
            return stream.read(length)


class TFDSImages(Sequence):
    """The encoded image of each record.

    Args:
        records: serialised examples.
        features: the data set's feature specification.
        image, label: the names of the two features.
    """

    def __init__(self, records: Sequence[bytes], features, image: str, label: str):
        import tensorflow_datasets as tfds

        self.records, self.features, self.image, self.label = records, features, image, label
        self.undecoded = {image: tfds.decode.SkipDecoding()}

    def __len__(self) -> int:
        return len(self.records)

    def example(self, index: int) -> dict:
        """One record, its image still encoded."""
        return self.features.deserialize_example_np(self.records[index], decoders=self.undecoded)

    def __getitem__(self, index: int) -> bytes:
        return self.example(index)[self.image]

    def labels(self) -> np.ndarray:
        """(n,) int64, by one pass over the records."""
        return np.array([self.example(i)[self.label] for i in range(len(self))], np.int64)


def read_tfds(name: str) -> Source:
    """Reads a TFDS data set with one image and one class label per example, downloading it when it is not there.

    Args:
        name: `NAME`, `NAME:config`, or TFDS's own `NAME/config:version`; the folder is TFDS_DATA_DIR or TFDS's default.

    Raises:
        InputError: no such data set, no image or label in it, or it cannot be prepared.
    """
    builder = _builder(name)
    image, label = _feature_names(name, builder.info.features, builder.info.supervised_keys)
    splits, notes = {}, []
    for split in builder.info.splits:
        if split not in SPLIT_NAMES:
            notes.append(f"The split {split} of tfds:{name} is not train, validation or test and is left out.")
            continue
        images = TFDSImages(_records(builder, split), builder.info.features, image, label)
        labels = images.labels()
        if len(labels) and (labels < 0).all():
            notes.append(f"The split {split} of tfds:{name} has no labels and is left out.")
            continue
        names = [f"{split} index {i}" for i in range(len(labels))]
        splits[SPLIT_NAMES[split]] = Examples(labels=labels, encoded=images, item_names=names)
    return Source(splits, list(builder.info.features[label].names), notes)


def _builder(name: str):
    """The builder, with its data on disk."""
    import tensorflow_datasets as tfds

    asked = name if "/" in name else name.replace(":", "/", 1)
    data_dir = os.environ.get("TFDS_DATA_DIR")
    try:
        builder = tfds.builder(asked, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        raise InputError(f"TFDS has no data set {name!r}: {suggest(name, tfds.list_builders())}") from error
    except ValueError as error:
        raise InputError(
            f"tfds:{name} cannot be opened ({_first_line(error)}): check its config and version."
        ) from error
    if not builder.info.splits:
        try:
            builder.download_and_prepare()
        except Exception as error:  # whatever the network, the disk or the data set's own script raises
            raise InputError(
                f"tfds:{name} could not be prepared ({_first_line(error)}): prepare it with `tfds build {asked}` and "
                "set TFDS_DATA_DIR to its folder."
            ) from error
    return builder


def _feature_names(name: str, features, supervised_keys) -> tuple[str, str]:
    """The names of the image and of the class label."""
    import tensorflow_datasets as tfds

    image, label = supervised_keys or ("image", "label")
    is_image = image in features and isinstance(features[image], tfds.features.Image)
    is_label = label in features and isinstance(features[label], tfds.features.ClassLabel)
    if not (is_image and is_label):
        raise InputError(
            f"tfds:{name} is not images with one class label each: choose an image classification data set."
        )
    return image, label


def _records(builder, split: str) -> Sequence[bytes]:
    """The serialised examples of a split, in the order of its files."""
    import tensorflow_datasets as tfds

    if builder.info.file_format == tfds.core.FileFormat.TFRECORD:
        return TFRecords([str(path) for path in builder.info.splits[split].filepaths])
    return builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)


def _scan(number: int, path: str) -> list[tuple[int, int, int]]:
    """(file number, start, length) of each record of a TFRecord file; only the lengths are read."""
    places, at, size = [], 0, Path(path).stat().st_size
    with open(path, "rb") as stream:
        while at < size:
            stream.seek(at)
            (length,) = _LENGTH.unpack(stream.read(_LENGTH.size))
            places.append((number, at + 12, length))
            at += length + _AROUND
    return places


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")

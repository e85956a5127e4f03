"""TensorFlow Datasets, read image by image so that nothing large is held in memory."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.data.examples import Examples, Source
from keras_vit.data.folder import SPLIT_NAMES
from keras_vit.data.labels import Labels
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


class TFDSExamples(Sequence):
    """The examples of one split, images in them still encoded.

    Args:
        records: serialised examples.
        features: the data set's feature specification.
    """

    def __init__(self, records: Sequence[bytes], features):
        import tensorflow_datasets as tfds

        self.records, self.features = records, features
        pictures = [name for name, feature in features.items() if isinstance(feature, tfds.features.Image)]
        self.undecoded = {name: tfds.decode.SkipDecoding() for name in pictures}

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict:
        return self.features.deserialize_example_np(self.records[index], decoders=self.undecoded)


@dataclass(frozen=True)
class TFDSPictures(Sequence):
    """One encoded image of each example.

    Attributes:
        examples: of one split.
        feature: which of their images.
    """

    examples: TFDSExamples
    feature: str

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> bytes:
        return self.examples[index][self.feature]


def read_tfds(name: str) -> Source:
    """Reads a TFDS data set with one image and one class label per example, downloading it when it is not there.

    Args:
        name: `NAME`, `NAME:config`, or TFDS's own `NAME/config:version`; the folder is TFDS_DATA_DIR or TFDS's default.

    Raises:
        InputError: no such data set, no image or label in it, or it cannot be prepared.
    """
    builder = open_tfds(name)
    image, label = _feature_names(name, builder.info.features, builder.info.supervised_keys)
    found, notes = splits_of(name, builder)
    splits = {}
    for split, (original, examples) in found.items():
        labels = np.array([examples[i][label] for i in range(len(examples))], np.int64)
        if len(labels) and (labels < 0).all():
            notes.append(f"The split {original} of tfds:{name} has no labels and is left out.")
            continue
        splits[split] = pictures(original, examples, image, labels)
    return Source(splits, list(builder.info.features[label].names), notes)


def splits_of(name: str, builder) -> tuple[dict[str, tuple[str, TFDSExamples]], list[str]]:
    """TFDS's name and the examples of each split that is known, and notes on those that are not."""
    found, notes = {}, []
    for split in builder.info.splits:
        if split in SPLIT_NAMES:
            found[SPLIT_NAMES[split]] = split, TFDSExamples(_records(builder, split), builder.info.features)
        else:
            notes.append(f"The split {split} of tfds:{name} is not train, validation or test and is left out.")
    return found, notes


def pictures(split: str, examples: TFDSExamples, feature: str, labels: np.ndarray | Labels) -> Examples:
    """The labelled images of a split that TFDS calls `split`."""
    names = [f"{split} index {i}" for i in range(len(examples))]
    return Examples(labels=labels, encoded=TFDSPictures(examples, feature), item_names=names)


def open_tfds(name: str):
    """The builder of a data set, with its data on disk.

    Raises:
        InputError: no such data set, or it cannot be prepared.
    """
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

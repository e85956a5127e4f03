"""What a data set is here: labelled examples per split, where the pixels stay on disk unless they came as an array."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_vit.data.labels import Labels, as_labels, counts
from keras_vit.errors import InputError

SPLITS = ("train", "val", "test")


@dataclass
class Examples:
    """The images and labels of one split; exactly one of `paths`, `images`, `encoded` is given.

    Attributes:
        labels: of each image: (n,) int64, its class from 0; or `Masks`; or `Boxes`.
        paths: image files.
        images: (n, H, W) or (n, H, W, C) uint8 with C 1, 3 or 4.
        encoded: a sequence whose items are encoded images (JPEG, PNG, ... bytes), read when asked for.
        item_names: what to call each item of `encoded` in reports; without it `"index 17"`.
        digests: a hash of each image's bytes, set by the pre-flight check.
    """

    labels: np.ndarray | Labels
    paths: list[str] | None = None
    images: np.ndarray | None = None
    encoded: Sequence[bytes] | None = None
    item_names: list[str] | None = None
    digests: list[str] | None = None

    def __post_init__(self):
        self.labels = as_labels(self.labels)
        stores = [store for store in (self.paths, self.images, self.encoded) if store is not None]
        if len(stores) != 1:
            raise InputError("Examples take exactly one of paths, images and encoded.")
        if len(stores[0]) != len(self.labels):
            raise InputError(
                f"There are {len(stores[0])} images and {len(self.labels)} labels: give one label an image."
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def names(self) -> list[str]:
        """What each image is called in reports: its file, or `"index 17"`."""
        return self.paths or self.item_names or [f"index {i}" for i in range(len(self))]

    def subset(self, indices: Sequence[int]) -> Examples:
        """The examples at `indices`, in that order; nothing is read."""
        indices = np.asarray(indices, np.int64)

        def pick(items):
            return None if items is None else [items[i] for i in indices]

        return Examples(
            labels=self.labels[indices],
            paths=pick(self.paths),
            images=None if self.images is None else self.images[indices],
            encoded=None if self.encoded is None else LazySubset(self.encoded, indices),
            item_names=pick(self.names) if self.paths is None else None,
            digests=pick(self.digests),
        )

    def raw(self, index: int) -> bytes:
        """The encoded bytes of one image: the file as it is, or a PNG of the array's image."""
        if self.paths is not None:
            return Path(self.paths[index]).read_bytes()
        if self.encoded is not None:
            return self.encoded[index]
        from PIL import Image

        image = self.images[index]
        buffer = io.BytesIO()
        Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image).save(buffer, "PNG")
        return buffer.getvalue()


@dataclass(frozen=True)
class LazySubset(Sequence):
    """Items of another sequence, picked by index and read when asked for."""

    source: Sequence[bytes]
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> bytes:
        return self.source[int(self.indices[index])]


@dataclass
class Source:
    """What a reader found, before the images are checked and missing splits are made.

    Attributes:
        splits: examples by split name, of `train`, `val`, `test`.
        class_names: the name of each label.
        notes: sentences that the user should read.
    """

    splits: dict[str, Examples]
    class_names: list[str]
    notes: list[str] = field(default_factory=list)


@dataclass
class Data:
    """A checked data set, ready for the pipelines.

    Attributes:
        train, val, test: the splits; `val` and `test` may be missing.
        class_names: the name of each label.
        fingerprint: hex digest over the image bytes, labels, splits and class names.
        notes: sentences that the command line prints: how splits were made, files left out, leakage.
        spec: what the user asked for.
    """

    train: Examples
    val: Examples | None
    test: Examples | None
    class_names: list[str]
    fingerprint: str
    notes: list[str]
    spec: str

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def splits(self) -> dict[str, Examples]:
        """The splits that exist, by name."""
        named = {name: getattr(self, name) for name in SPLITS}
        return {name: examples for name, examples in named.items() if examples is not None}

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Per split the number of images by class name; for boxes, of boxes by class name; for masks, of images."""
        return {split: counts(examples.labels, self.class_names) for split, examples in self.splits.items()}


def with_digests(examples: Examples, digests: list[str]) -> Examples:
    """The same examples, knowing the hash of each image."""
    return dataclasses.replace(examples, digests=digests)

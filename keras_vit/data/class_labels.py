"""One class an image: where such data comes from, when its labels make sense, and the views of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_vit.data import geometry
from keras_vit.data.arrays import read_digits, read_npz
from keras_vit.data.augment import Augment, ImageAugmenter
from keras_vit.data.csv_file import find_csv, read_csv
from keras_vit.data.examples import Source
from keras_vit.data.folder import read_folder
from keras_vit.data.mixing import batch_mixer
from keras_vit.data.pack import is_pack, read_pack
from keras_vit.data.spec import route, table_or_folder
from keras_vit.data.tfds_source import read_tfds
from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

READERS: dict[str, Callable[[str], Source]] = {
    "digits": lambda _: read_digits(),
    "tfds": read_tfds,
    "npz": lambda name: read_npz(Path(name)),
    "csv": lambda name: read_csv(find_csv(Path(name))),
    "pack": lambda name: read_pack(Path(name)),
    "folder": lambda name: read_folder(Path(name)),
}
"""The reader of each kind of data, called with the rest of the spec."""

_ACCEPTED = "an image folder, a folder with a CSV, a .csv or .npz file, a packed folder, tfds:NAME[:config], or digits"


def kind_of(spec: str) -> tuple[str, str]:
    """Which reader a spec asks for, and what that reader is called with.

    Raises:
        InputError: nothing is there, or it is no kind of data that is known.
    """
    if spec == "digits":
        return "digits", ""
    return route(spec, _ACCEPTED, lambda path: "pack" if is_pack(path) else table_or_folder(path))


def check(source: Source):
    """Every label in range and every class in every split, or an InputError."""
    names = source.class_names
    if len(names) < 2:
        found = f"only one class ({names[0]})" if names else "no class"
        raise InputError(f"The data has {found}: a classifier needs at least two.")
    for split, examples in source.splits.items():
        labels = examples.labels
        if len(labels) == 0:
            raise InputError(f"The {split} split has no images: add some or remove the split.")
        wrong = np.flatnonzero((labels < 0) | (labels >= len(names)))
        if len(wrong):
            raise InputError(
                f"{len(wrong)} label(s) of the {split} split are outside 0..{len(names) - 1}, for instance "
                f"{labels[wrong[0]]} of {examples.names[wrong[0]]}: correct the labels or the class names."
            )
        missing = np.flatnonzero(np.bincount(labels, minlength=len(names)) == 0)
        if len(missing):
            listed = ", ".join(repr(names[i]) for i in missing[:5]) + (", ..." if len(missing) > 5 else "")
            raise InputError(
                f"The {split} split has no image of {len(missing)} of the {len(names)} classes ({listed}): "
                "add images, or remove the class everywhere."
            )


class ClassViews:
    """Views with one-hot targets (C,) float32.

    Args:
        labels: (n,) int64.
        preprocessing: the model's record.
        num_classes: C.
    """

    def __init__(self, labels: np.ndarray, preprocessing: Preprocessing, num_classes: int):
        self.labels, self.preprocessing, self.num_classes = tf.constant(labels), preprocessing, num_classes

    def shown(self, image: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Fitted to the model's input as the record says."""
        return geometry.resize_and_crop(image, self.preprocessing), self._target(index)

    def learned(self, augment: Augment) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        """Augmented one image at a time, from what `part` left of it.

        Raises:
            InputError: `augment.scale` is set.
        """
        augment.check_for_classes()
        augmenter = ImageAugmenter(augment, self.preprocessing)
        return lambda part, index, seed: (augmenter.finish(part, seed), self._target(index))

    def part(self, augment: Augment) -> Callable[..., tuple[tf.Tensor, tf.Tensor]] | None:
        """The random crop."""
        augmenter = ImageAugmenter(augment, self.preprocessing)
        return augmenter.box if augmenter.crops else None

    def mixed(self, augment: Augment) -> Callable[..., tuple[tf.Tensor, tf.Tensor]] | None:
        """MixUp and CutMix, where asked for."""
        return batch_mixer(augment)

    def _target(self, index: tf.Tensor) -> tf.Tensor:
        return tf.one_hot(tf.gather(self.labels, index), self.num_classes)

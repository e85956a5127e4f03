"""A class for every pixel: where such data comes from, when its masks make sense, and the views of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from keras_vit.data.augment import Augment
from keras_vit.data.csv_file import find_csv
from keras_vit.data.examples import Source
from keras_vit.data.mask_files import read_mask_csv, read_mask_folder, read_mask_npz
from keras_vit.data.masks import Masks
from keras_vit.data.spec import route, table_or_folder
from keras_vit.data.tfds_dense import read_tfds_masks
from keras_vit.data.window import RandomWindow, whole_window
from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

READERS: dict[str, Callable[[str], Source]] = {
    "tfds": read_tfds_masks,
    "npz": lambda name: read_mask_npz(Path(name)),
    "csv": lambda name: read_mask_csv(find_csv(Path(name), "mask")),
    "folder": lambda name: read_mask_folder(Path(name)),
}
"""The reader of each kind of data, called with the rest of the spec."""

_ACCEPTED = "a folder with images/ and masks/, a folder with a CSV, a .csv or .npz file, or tfds:NAME[:config]"


def kind_of(spec: str) -> tuple[str, str]:
    """Which reader a spec asks for, and what that reader is called with.

    Raises:
        InputError: nothing is there, or it is no kind of data that is known.
    """
    return route(spec, _ACCEPTED, lambda path: table_or_folder(path, "mask"))


def check(source: Source):
    """At least two classes, and images in every split, or an InputError."""
    names = source.class_names
    if len(names) < 2:
        found = f"only one class ({names[0]})" if names else "no class"
        raise InputError(f"The masks have {found}: number at least two classes from 0, the value 255 is ignored.")
    for split, examples in source.splits.items():
        if len(examples) == 0:
            raise InputError(f"The {split} split has no images: add some or remove the split.")


def inspect(labels: Masks, index: int, height: int, width: int) -> str | None:
    """What is wrong with one mask, whose image has this height and width, or None."""
    try:
        mask = labels.read(index)
    except InputError as error:
        return str(error)
    if mask.shape != (height, width):
        return f"the mask is {mask.shape[1]} x {mask.shape[0]} pixels and the image {width} x {height}"
    return None


class MaskViews:
    """Views with masks (h, w) int32 of the model's input: class or IGNORE.

    Args:
        labels: the masks.
        preprocessing: the model's record.
        num_classes: number of classes; masks do not need it.
    """

    def __init__(self, labels: Masks, preprocessing: Preprocessing, num_classes: int):
        self.labels, self.preprocessing = labels, preprocessing

    def shown(self, image: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Image and mask, fitted to the model's input as the record says."""
        window = whole_window(tf.shape(image)[:2], self.preprocessing)
        return window.fitted(image), window.mask(self._read(index))

    def learned(self, augment: Augment) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        """Image and mask through one random window.

        Raises:
            InputError: a setting that is for classification only.
        """
        draw = RandomWindow(augment, self.preprocessing)

        def view(image, index, seed):
            pixels, window = draw(image, seed)
            return pixels, window.mask(self._read(index))

        return view

    def part(self, augment: Augment) -> None:
        """A window may show all of the image."""

    def mixed(self, augment: Augment) -> None:
        """Batches of masks are not mixed."""

    def _read(self, index: tf.Tensor) -> tf.Tensor:
        mask = tf.numpy_function(lambda i: self.labels.read(int(i)), [index], tf.int32, stateful=False)
        return tf.ensure_shape(mask, (None, None))

"""Objects with a box and a class: where such data comes from, when its boxes make sense, and the views of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_vit.data.augment import Augment
from keras_vit.data.boxes import Boxes
from keras_vit.data.coco import find_coco, read_coco
from keras_vit.data.examples import Source
from keras_vit.data.spec import route
from keras_vit.data.tfds_dense import read_tfds_boxes
from keras_vit.data.voc import is_voc, read_voc
from keras_vit.data.window import RandomWindow, Window, whole_window
from keras_vit.data.yolo import is_yolo, read_yolo
from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

READERS: dict[str, Callable[[str], Source]] = {
    "tfds": read_tfds_boxes,
    "coco file": lambda name: read_coco({"train": Path(name)}),
    "coco": lambda name: read_coco(find_coco(Path(name))),
    "voc": lambda name: read_voc(Path(name)),
    "yolo": lambda name: read_yolo(Path(name)),
    "yolo file": lambda name: read_yolo(Path(name).parent),
}
"""The reader of each kind of data, called with the rest of the spec."""

_ACCEPTED = (
    "a folder with COCO's JSON files, with Pascal VOC's Annotations/ and JPEGImages/, or with YOLO's images/ and "
    "labels/, a COCO .json, a YOLO .yaml, or tfds:NAME[:config]"
)
_ROUNDING = 1.0  # by as much a box may reach beyond its image, in pixels


def kind_of(spec: str) -> tuple[str, str]:
    """Which reader a spec asks for, and what that reader is called with.

    Raises:
        InputError: nothing is there, or it is no kind of data that is known.
    """
    return route(spec, _ACCEPTED, _kind_of_path)


def _kind_of_path(path: Path) -> str | None:
    if path.is_dir():
        kinds = {"voc": is_voc, "yolo": is_yolo, "coco": find_coco}
        return next((kind for kind, found in kinds.items() if found(path)), None)
    return {".json": "coco file", ".yaml": "yolo file", ".yml": "yolo file"}.get(path.suffix.lower())


def check(source: Source):
    """A class, images in every split and something to learn, or an InputError."""
    if not source.class_names:
        raise InputError("The data names no classes: a detector needs at least one.")
    for split, examples in source.splits.items():
        if len(examples) == 0:
            raise InputError(f"The {split} split has no images: add some or remove the split.")
        if split == "train" and examples.labels.most == 0:
            raise InputError("The train split has no boxes: annotate its images.")


def inspect(labels: Boxes, index: int, height: int, width: int) -> str | None:
    """What is wrong with the boxes of one image of this height and width, or None; there may be none."""
    said = tuple(labels.sizes[index].tolist())
    if all(said) and said != (height, width):
        return f"its annotations are for {said[1]} x {said[0]} pixels and the image has {width} x {height}"
    boxes = labels.boxes[index]
    if len(boxes) == 0:
        return None
    low, high = boxes[:, :2], boxes[:, 2:]
    limit = np.array([width, height], np.float32)
    outside = ((low < -_ROUNDING) | (high > limit + _ROUNDING)).any(1)
    flat = (np.minimum(high, limit) - np.maximum(low, 0) <= 0).any(1)
    for wrong, problem in ((outside, "is outside its"), (flat, "has no area in its")):
        if wrong.any():
            x0, y0, x1, y1 = boxes[wrong][0].tolist()
            corners = f"{x0:g}, {y0:g} to {x1:g}, {y1:g}"
            return f"the box from {corners} {problem} {width} x {height} pixels"
    return None


class BoxViews:
    """Views with boxes (M, 5) float32: x0, y0, x1, y1 in pixels of the model's input, class; M is the largest number
    of boxes that an image has, unused rows are 0, 0, 0, 0, -1.

    Args:
        labels: the boxes.
        preprocessing: the model's record.
        num_classes: number of classes; boxes do not need it.
    """

    def __init__(self, labels: Boxes, preprocessing: Preprocessing, num_classes: int):
        self.preprocessing = preprocessing
        targets = [labels.targets(i) for i in range(len(labels))]
        self.most = max(1, labels.most)
        self.rows = tf.constant(np.concatenate([np.zeros((0, 5), np.float32), *targets]))
        self.starts = tf.constant(np.cumsum([0, *map(len, targets)]))

    def shown(self, image: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Image and boxes, fitted to the model's input as the record says."""
        window = whole_window(tf.shape(image)[:2], self.preprocessing)
        return window.fitted(image), self._target(window, index)

    def learned(self, augment: Augment) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        """Image and boxes through one random window.

        Raises:
            InputError: a setting that is for classification only.
        """
        draw = RandomWindow(augment, self.preprocessing)

        def view(image, index, seed):
            pixels, window = draw(image, seed)
            return pixels, self._target(window, index)

        return view

    def part(self, augment: Augment) -> None:
        """A window may show all of the image."""

    def mixed(self, augment: Augment) -> None:
        """Batches of boxes are not mixed."""

    def _target(self, window: Window, index: tf.Tensor) -> tf.Tensor:
        rows = window.boxes(self.rows[self.starts[index] : self.starts[index + 1]])
        unused = tf.constant([[0.0, 0.0, 0.0, 0.0, -1.0]])
        rows = tf.concat([rows, tf.repeat(unused, self.most - tf.shape(rows)[0], 0)], 0)
        return tf.ensure_shape(rows, (self.most, 5))

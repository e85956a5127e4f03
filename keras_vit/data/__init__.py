"""Data: from a folder, a CSV, an npz, COCO, VOC, YOLO, TFDS or the embedded digits to tf.data pipelines."""

from __future__ import annotations

from keras_vit.data.augment import Augment
from keras_vit.data.boxes import Boxes
from keras_vit.data.classes import align
from keras_vit.data.decoded import Decoded, decode_all
from keras_vit.data.examples import Data, Examples
from keras_vit.data.kinds import BOXES, CLASSES, MASKS, LabelKind
from keras_vit.data.masks import IGNORE, Masks
from keras_vit.data.pipeline import batch_indices, eval_dataset, image_dataset, train_dataset
from keras_vit.data.sources import load
from keras_vit.data.unlabelled import find_images
from keras_vit.data.waiting import Arrivals

__all__ = [
    "BOXES",
    "CLASSES",
    "IGNORE",
    "MASKS",
    "Arrivals",
    "Augment",
    "Boxes",
    "Data",
    "Decoded",
    "Examples",
    "LabelKind",
    "Masks",
    "align",
    "batch_indices",
    "decode_all",
    "eval_dataset",
    "find_images",
    "image_dataset",
    "load",
    "train_dataset",
]

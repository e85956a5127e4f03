"""Data: from a folder, a CSV, an npz, TFDS or the embedded digits to tf.data pipelines of pixels and labels."""

from __future__ import annotations

from keras_vit.data.augment import Augment
from keras_vit.data.classes import align
from keras_vit.data.examples import Data, Examples
from keras_vit.data.pipeline import eval_dataset, train_dataset
from keras_vit.data.sources import load
from keras_vit.data.unlabelled import find_images

__all__ = ["Augment", "Data", "Examples", "align", "eval_dataset", "find_images", "load", "train_dataset"]

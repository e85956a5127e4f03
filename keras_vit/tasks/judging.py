"""Runs a model over a split and lets its task judge it."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from keras_vit.build import preprocessing_of
from keras_vit.data import Examples
from keras_vit.errors import InputError
from keras_vit.evaluation.assessment import Assessment
from keras_vit.tasks.classification import Classification
from keras_vit.tasks.task import Outputs, Task


def evaluate(
    model: keras.Model,
    examples: Examples,
    task: Task | Sequence[str],
    *,
    batch_size: int = 64,
    progress: bool = True,
) -> Assessment:
    """Judges a model on labelled examples.

    Args:
        model: made by this package; takes pixels 0..255.
        examples: one split of the data.
        task: what the model was trained for, or the class names of a classifier.
        batch_size: images at a time.
        progress: show a bar.

    Raises:
        InputError: no examples, labels outside the model's classes, or another number of names than outputs.
    """
    if not isinstance(task, Task):
        task = Classification(tuple(task))
    return judge(outputs_of(model), examples, preprocessing_of(model), task, batch_size=batch_size, progress=progress)


def judge(outputs: Outputs, examples: Examples, preprocessing, task: Task, *, batch_size: int, progress: bool):
    """The same of anything that gives a model's outputs, such as an exported file.

    Raises:
        InputError: no examples, or labels that do not fit the task.
    """
    if not len(examples):
        raise InputError("There are no images to evaluate on: check the data and the split.")
    said = task.predictions(outputs, examples, preprocessing, batch_size=batch_size, progress=progress)
    return task.judge(said, examples, preprocessing)


def outputs_of(model: keras.Model) -> Outputs:
    """The model as a function of NumPy images."""
    return lambda images: np.asarray(model.predict_on_batch(images))

"""Figures that a task takes from the whole validation split at the end of an epoch."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from keras_vit.data import Examples
from keras_vit.preprocessing import Preprocessing
from keras_vit.tasks import Task
from keras_vit.training.average import averaged


class AddFigures(keras.callbacks.Callback):
    """Adds the figures of `Task.validation` to an epoch's own.

    Args:
        task: knows them.
        val: the validation split.
        preprocessing: of the model.
        batch_size: images at a time.
    """

    def __init__(self, task: Task, val: Examples, preprocessing: Preprocessing, batch_size: int):
        super().__init__()
        self.task = task
        self.val = val
        self.preprocessing = preprocessing
        self.batch_size = batch_size

    def on_train_begin(self, logs=None):
        """Makes the model a function of images: `predict_on_batch` would run on every replica and return as often."""
        forward = tf.function(lambda images: self.model(images, training=False), reduce_retracing=True)
        self.outputs_of = lambda images: np.asarray(forward(tf.convert_to_tensor(images)))

    def on_epoch_end(self, epoch, logs=None):
        """Judges the weights that are validated, their average where there is one."""
        with averaged(self.model):
            logs.update(self.task.validation(self.outputs_of, self.val, self.preprocessing, self.batch_size))

"""What TensorBoard shows beside Keras's own curves: pictures, rates and norms, and the run's settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_vit.data import Examples, eval_dataset
from keras_vit.evaluation import to_array
from keras_vit.preprocessing import Preprocessing
from keras_vit.tasks import Task
from keras_vit.training.average import averaged
from keras_vit.training.optimizers.groups import group_rates, layer_norms
from keras_vit.training.recipe import Recipe

PICTURES = 12
"""Images in a grid."""
OUTCOME = "outcome"
"""Folder, in that of the logs, of what came of the run."""


class ShowPictures(keras.callbacks.Callback):
    """Writes a grid of augmented training images, and each epoch the predictions of fixed validation images.

    Args:
        log_dir: TensorBoard's folder of the run.
        task: draws.
        augmented: the training dataset.
        val: validation examples, of which every k-th is shown.
        preprocessing: of the model.
    """

    def __init__(
        self,
        log_dir: Path,
        task: Task,
        augmented: tf.data.Dataset,
        val: Examples,
        preprocessing: Preprocessing,
    ):
        super().__init__()
        self.task = task
        self.augmented = augmented
        self.writer = tf.summary.create_file_writer(str(log_dir / "pictures"))
        spread = np.unique(np.linspace(0, len(val) - 1, PICTURES).astype(int))
        shown = eval_dataset(
            val.subset(spread),
            preprocessing,
            labels=task.labels,
            num_classes=len(task.class_names),
            batch_size=PICTURES,
        )
        ((self.images, self.targets),) = shown.as_numpy_iterator()

    def on_train_begin(self, logs=None):
        """Draws what augmentation does."""
        images, targets = (np.asarray(part) for part in next(iter(self.augmented)))
        self._write("training images", self.task.draw_targets(images[:PICTURES], targets[:PICTURES]), 0)

    def on_epoch_end(self, epoch, logs=None):
        """Draws the predictions."""
        with averaged(self.model):
            # Called directly: `predict_on_batch` runs the batch on every replica and returns it that many times.
            outputs = np.asarray(self.model(self.images, training=False))
        if np.isfinite(outputs).all():
            self._write("validation predictions", self.task.draw(self.images, outputs, self.targets), epoch)

    def on_train_end(self, logs=None):
        """Everything reaches the disk."""
        self.writer.close()

    def _write(self, name: str, figure, step: int) -> None:
        with self.writer.as_default():
            tf.summary.image(name, to_array(figure)[None], step=step)


class ShowSteps(keras.callbacks.Callback):
    """Writes the epoch's averages so far every few steps. (Keras's `update_freq` would leave out the figures of most
    epochs, those that do not end on such a step, and count from 0 in a resumed run.)

    Args:
        log_dir: TensorBoard's folder of the run.
        every: steps from one entry to the next.
        steps: in an epoch.
    """

    def __init__(self, log_dir: Path, every: int, steps: int):
        super().__init__()
        self.every = every
        self.steps = steps
        self.writer = tf.summary.create_file_writer(str(log_dir / "steps"))

    def on_epoch_begin(self, epoch, logs=None):
        """Counts the steps of the epochs before."""
        self._before = epoch * self.steps

    def on_train_batch_end(self, batch, logs=None):
        """Writes what has come of the steps."""
        step = self._before + batch + 1
        if step % self.every:
            return
        with self.writer.as_default():
            for name, value in logs.items():
                tf.summary.scalar(f"step_{name}", value, step=step)

    def on_train_end(self, logs=None):
        """Everything reaches the disk."""
        self.writer.close()


class ShowWeights(keras.callbacks.Callback):
    """Writes the model's graph, and after each epoch every layer's learning rate and the norm of its weights.

    Args:
        log_dir: TensorBoard's folder of the run.
        graph: of the model's answer to one image; asked for after the first epoch.
    """

    def __init__(self, log_dir: Path, graph: Callable[[], tf.Graph]):
        super().__init__()
        self.graph = graph
        self.writer = tf.summary.create_file_writer(str(log_dir / "weights"))
        self._drawn = False

    def on_epoch_end(self, epoch, logs=None):
        """Writes what has come of the weights."""
        with self.writer.as_default():
            if not self._drawn:
                tf.summary.graph(self.graph())
                self._drawn = True
            for layer, rate in group_rates(self.model.optimizer, self.model).items():
                tf.summary.scalar(f"learning_rate/{layer}", rate, step=epoch)
            for layer, norm in layer_norms(self.model).items():
                tf.summary.scalar(f"weight_norm/{layer}", norm, step=epoch)

    def on_train_end(self, logs=None):
        """Everything reaches the disk."""
        self.writer.close()


def write_outcome(
    log_dir: Path, recipe: Recipe, pictures: Mapping[str, bytes], figures: Mapping[str, float | None], epoch: int
) -> None:
    """Writes the pictures of the validation split and the settings with their outcome (the HPARAMS tab).

    Args:
        log_dir: TensorBoard's folder of the run.
        recipe: the settings.
        pictures: name -> PNG.
        figures: of the validation split; those that are None are left out.
        epoch: of the model that was kept.
    """
    from tensorboard.plugins.hparams import api as hparams

    with tf.summary.create_file_writer(str(log_dir / OUTCOME)).as_default():
        for name, png in pictures.items():
            tf.summary.image(name, tf.io.decode_png(png)[None], step=epoch)
        hparams.hparams(dict(_flat(recipe.to_dict())))
        for name, value in figures.items():
            if value is None:
                continue
            tf.summary.scalar(f"outcome/{name}", value, step=epoch)


def _flat(settings: dict, where: str = ""):
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{where}{key}.")
        else:
            yield where + key, value if isinstance(value, (bool, int, float, str)) else str(value)

"""What a model looks at while it learns: pictures for TensorBoard after some of a run's epochs."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_vit.data import Examples, image_dataset
from keras_vit.evaluation import sized, tiled, to_array
from keras_vit.explain import attention, attention_distance, components, distance_figure, replay_of, saliency
from keras_vit.explain.asked import batch_size
from keras_vit.explain.overlay import mosaic, overlay
from keras_vit.preprocessing import Preprocessing
from keras_vit.tasks.task import pixels
from keras_vit.training.average import averaged

IMAGES = 8
"""Validation images that are looked at."""
SIDE = 192
"""Pixels of the longer side of a picture."""
METHOD = "rollout"
"""It needs no gradient and no answer to explain, so that it is the same for every task and comparable over epochs."""


def epochs_to_look_after(epochs: int, looks: int) -> set[int]:
    """Numbers of epochs, from 0: so many, or all, spread evenly, the last always and the first from two on."""
    return {round(epoch) for epoch in np.linspace(epochs - 1, 0, min(looks, epochs))}


class ShowLooks(keras.callbacks.Callback):
    """Writes what fixed validation images make the model look at: the rollout of its attention over each image, the
    principal components of its patch features as colours, and how far each head looks. With the averaged weights,
    where there are any, as validation is.

    Args:
        log_dir: TensorBoard's folder of the run.
        model: made by `keras_vit.build`; its layers are those that are trained.
        val: validation examples, of which every k-th is shown.
        preprocessing: of the model.
        epochs: numbers of the epochs, from 0, after which there is something to write.
    """

    def __init__(
        self,
        log_dir: Path,
        model: keras.Model,
        val: Examples,
        preprocessing: Preprocessing,
        epochs: Collection[int],
    ):
        super().__init__()
        self.looked_into = model
        self.epochs = epochs
        # What is shown is the model's own view, of which nothing is cut off.
        self.view = dataclasses.replace(preprocessing, fit="squash", crop=1.0)
        self.writer = tf.summary.create_file_writer(str(log_dir / "looks"))
        spread = np.unique(np.linspace(0, len(val) - 1, IMAGES).astype(int))
        (images,) = image_dataset(val.subset(spread), preprocessing, batch_size=IMAGES).as_numpy_iterator()
        self.images = pixels(images)

    def on_epoch_end(self, epoch, logs=None):
        """Looks."""
        if epoch not in self.epochs:
            return
        with averaged(self.model), self.writer.as_default(step=epoch):
            heats = saliency(self.looked_into, self.images, METHOD)
            if np.isfinite(heats).all():
                self._write("validation attention", heats, overlay)
                self._write_features()
                self._write_distances()

    def on_train_end(self, logs=None):
        """Everything reaches the disk."""
        self.writer.close()

    def _write_features(self) -> None:
        """Of the last block whose patches are all in their places."""
        blocks = replay_of(self.looked_into).blocks
        last = next((index for index, block in enumerate(blocks) if block.merged), len(blocks)) - 1
        if last >= 0:
            self._write("validation features", components(self.looked_into, self.images, last), mosaic)

    def _write_distances(self) -> None:
        replay = replay_of(self.looked_into)
        # A few at a time: all their scores together can take gigabytes.
        count, step, sums = len(self.images), batch_size(replay), 0.0
        for some in (self.images[start : start + step] for start in range(0, count, step)):
            sums = sums + len(some) * attention_distance(attention(self.looked_into, some), replay.patch_size)
        figure = distance_figure(sums / count, range(len(replay.blocks)), replay.grid, replay.patch_size)
        tf.summary.image("attention distance", to_array(figure)[None])

    def _write(self, name: str, found: np.ndarray, draw) -> None:
        """Each image beside what `draw` makes of it."""
        patch_size, pairs = replay_of(self.looked_into).patch_size, []
        for image, values in zip(self.images, found, strict=True):
            small = sized(image, SIDE)
            pairs += [small, draw(small, values, self.view, patch_size=patch_size)]
        tf.summary.image(name, tiled(pairs, 2 * max(1, round(len(self.images) ** 0.5)))[None])

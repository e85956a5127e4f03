"""How fast a run learns, what share of the machine that is, and whether it waits for images."""

from __future__ import annotations

import functools
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from keras_vit.data.waiting import Arrivals

PACE = ("images_per_second", "mfu", "waiting", "peak_memory_gb")
"""What is added to an epoch's figures. Unlike the others they differ from one run to the next of the same recipe."""

_BOTTLENECK = 0.2  # of the time; below it a faster pipeline would hardly be felt


@dataclass
class _Span:
    """Some steps: their images, and their seconds, in all and of waiting for batches."""

    images: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def add(self, images: int, seconds: float, waited: float) -> None:
        self.images += images
        self.seconds += seconds
        self.waited += waited

    def figures(self, utilisation: float) -> dict[str, float]:
        rate = self.images / self.seconds if self.images else 0.0
        share = self.waited / self.seconds if self.images else 0.0
        return dict(zip(PACE, (rate, rate * utilisation, share, peak_memory() / 1e9), strict=True))


class Pace(keras.callbacks.Callback):
    """Adds to an epoch's figures those of `PACE`: images a second; model-FLOPs utilisation, the share of the devices'
    measured peak that the model's own arithmetic is (Chowdhery et al., 2022); the share of the time that was spent
    waiting for images; and the largest memory that the process has taken, of the GPU if there is one.

    Validation does not count, nor does the first step of a process, in which the step is compiled and the pipeline
    filled; except where an epoch has no other.

    Args:
        arrivals: watches the dataset that `fit` is given.
        batch_size: images per update, of all processes together.
        multiply_adds: of a training step for one image; asked for once, after the first epoch, because it takes a
            second.
        peak: floating-point operations a second of all devices together.
    """

    def __init__(self, arrivals: Arrivals, batch_size: int, multiply_adds: Callable[[], float], peak: float):
        super().__init__()
        self.arrivals = arrivals
        self.batch_size = batch_size
        self._utilisation = functools.cache(lambda: 2 * multiply_adds() / peak)  # by one image a second
        self._whole = _Span()
        self._steps = 0

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the epoch's clock."""
        self._epoch, self._first, self._since = _Span(), _Span(), None

    def on_train_batch_begin(self, batch, logs=None):
        """Notes when a batch is asked for."""
        self._asked = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Counts the step, and what lies between it and the one before."""
        now = time.perf_counter()
        step = self.batch_size, now - (self._since or self._asked), self.arrivals.wait(self._steps, self._asked)
        for span in (self._epoch, self._whole) if self._steps else (self._first,):
            span.add(*step)
        self._since = now
        self._steps += 1

    def on_epoch_end(self, epoch, logs=None):
        """Adds the epoch's figures."""
        logs.update((self._epoch if self._epoch.images else self._first).figures(self._utilisation()))

    def summary(self, cacheable: bool) -> Sequence[str]:
        """Sentences on all steps so far but the first.

        Args:
            cacheable: images are decoded anew in each epoch, and there is more than one: `data.cache` would help.
        """
        if not self._whole.images:
            return ()
        figures = self._whole.figures(self._utilisation())
        speed = (
            f"speed: {figures['images_per_second']:.1f} images/s, {figures['mfu']:.0%} of the machine's peak (MFU); "
            f"peak memory {figures['peak_memory_gb']:.2f} GB"
        )
        if figures["waiting"] < _BOTTLENECK:
            return (speed,)
        remedy = "; try data.cache=memory." if cacheable else "."
        return (
            speed,
            f"The input pipeline is the bottleneck: the model waited for images {figures['waiting']:.0%} of the "
            f"time{remedy}",
        )


def peak_memory() -> float:
    """Bytes: the most that this process has taken of the first GPU's memory, or else of the machine's."""
    if tf.config.list_physical_devices("GPU"):
        return float(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)

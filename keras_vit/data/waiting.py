"""When batches arrive where they are awaited."""

from __future__ import annotations

import time

import tensorflow as tf


class Arrivals:
    """Notes when each batch leaves a dataset.

    `fit` asks for its batches inside a compiled function, where no clock of Python's runs: the note is an operation of
    the dataset, after all that prepares and prefetches.
    """

    def __init__(self):
        self._moments: dict[int, float] = {}

    def watch(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """The same batches, each noted as it leaves. Iterators count from 0; what a later one notes replaces what an
        earlier one did."""

        def note(index, batch):
            with tf.control_dependencies([tf.numpy_function(self._note, [index], [])]):
                return tf.nest.map_structure(tf.identity, batch)

        return batches.enumerate().map(note)

    def wait(self, index: int, asked: float) -> float:
        """Seconds from a moment, by `time.perf_counter`, until a batch had arrived; 0 if it was there already."""
        return max(0.0, self._moments.pop(index, asked) - asked)

    def _note(self, index) -> None:
        self._moments[int(index)] = time.perf_counter()

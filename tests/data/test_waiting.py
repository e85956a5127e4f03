"""The clock of batches that a compiled step asks for."""

from __future__ import annotations

import time

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.data import Arrivals


def slowly(n: int, seconds: float):
    for i in range(n):
        time.sleep(seconds)
        yield np.full((2, 3), i, "float32"), i


def waits(dataset: tf.data.Dataset, work: float) -> list[float]:
    arrivals, seen, waited = Arrivals(), [], []
    iterator = iter(arrivals.watch(dataset))
    step = tf.function(lambda batches: next(batches))
    for i in range(6):
        asked = time.perf_counter()
        images, target = step(iterator)
        waited.append(arrivals.wait(i, asked))
        seen.append(int(target))
        np.testing.assert_array_equal(images, np.full((2, 3), i))
        time.sleep(work)
    assert seen == list(range(6))
    return waited


@pytest.fixture
def dataset():
    def make(seconds: float) -> tf.data.Dataset:
        form = (tf.TensorSpec((2, 3), tf.float32), tf.TensorSpec((), tf.int32))
        return tf.data.Dataset.from_generator(lambda: slowly(6, seconds), output_signature=form).prefetch(1)

    return make


def test_a_slow_pipeline_is_waited_for(dataset):
    # Asked for at once, each batch takes its time; the first has the start of the pipeline on top.
    assert all(wait > 0.15 for wait in waits(dataset(0.2), work=0.0)[1:])


def test_prefetched_batches_are_not_waited_for(dataset):
    assert max(waits(dataset(0.0), work=0.1)[1:]) < 0.05


def test_a_batch_that_was_there_before_it_was_asked_for():
    arrivals = Arrivals()
    list(arrivals.watch(tf.data.Dataset.range(2)))
    assert arrivals.wait(1, time.perf_counter()) == 0
    assert arrivals.wait(7, time.perf_counter()) == 0


def test_the_dataset_keeps_its_form():
    plain = tf.data.Dataset.from_tensor_slices((np.zeros((4, 2)), {"a": np.arange(4)})).batch(2)
    watched = Arrivals().watch(plain)
    assert watched.element_spec == plain.element_spec
    assert int(watched.cardinality()) == 2

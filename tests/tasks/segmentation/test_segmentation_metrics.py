"""mIoU and pixel accuracy against scikit-learn's confusion matrix, streamed, on one device and on two."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

from keras_vit.data.masks import IGNORE
from keras_vit.tasks.segmentation.metrics import (
    PixelCounts,
    count_pixels,
    intersection_over_union,
    mean_iou,
    pixel_accuracy,
)

C = 5


def drawn(n: int = 6, present: int = C, seed: int = 0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, present, (n, 9, 11)).astype("int32")
    truth[rng.random(truth.shape) < 0.15] = IGNORE
    return truth, rng.normal(size=(n, 9, 11, C)).astype("float32")


def reference(truth, predicted) -> tuple[float, float]:
    known = truth != IGNORE
    truth, predicted = truth[known], predicted[known]
    used = np.union1d(truth, predicted)
    return jaccard_score(truth, predicted, labels=used, average="macro"), accuracy_score(truth, predicted)


@pytest.mark.parametrize("present", [1, 3, C])
def test_figures_are_scikit_learns(present):
    truth, logits = drawn(present=present)
    predicted = logits.argmax(-1)
    counts = count_pixels(truth, predicted, C)
    known = truth != IGNORE
    np.testing.assert_array_equal(counts, confusion_matrix(truth[known], predicted[known], labels=range(C)))
    wanted = reference(truth, predicted)
    assert (mean_iou(counts), pixel_accuracy(counts)) == pytest.approx(wanted)
    for figure, value in zip(("miou", "pixel_accuracy"), wanted, strict=True):
        metric = PixelCounts(C, figure)
        for part in np.array_split(np.arange(len(truth)), 3):
            metric.update_state(truth[part], logits[part])
        assert float(metric.result()) == pytest.approx(value, rel=1e-6)


def test_a_class_that_nobody_has_does_not_count():
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    counts = count_pixels(truth, predicted, 4)
    np.testing.assert_allclose(intersection_over_union(counts), [1 / 2, 2 / 3, np.nan, np.nan])
    assert mean_iou(counts) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_nothing_but_ignored_pixels():
    metric = PixelCounts(C)
    metric.update_state(np.full((1, 3, 3), IGNORE), np.zeros((1, 3, 3, C)))
    assert float(metric.result()) == 0.0
    assert mean_iou(np.zeros((C, C))) == pixel_accuracy(np.zeros((C, C))) == 0.0


def test_counting_does_not_stop_at_the_precision_of_float32():
    metric = PixelCounts(2, "pixel_accuracy")
    metric.counts.assign(np.array([[2**24, 0], [0, 0]]))
    metric.update_state(np.zeros((1, 1, 1), "int32"), np.array([[[[1.0, 0.0]]]]))
    assert int(np.asarray(metric.counts)[0, 0]) == 2**24 + 1


ON_TWO_DEVICES = """
import keras, numpy as np, sys, tensorflow as tf
from keras_vit.tasks.segmentation.losses import SegmentationLoss
from keras_vit.tasks.segmentation.metrics import PixelCounts
from keras_vit.training.devices import make_strategy
strategy, _ = make_strategy("cpu:2")
data = np.load(sys.argv[1])
dataset = tf.data.Dataset.from_tensor_slices((data["logits"], data["truth"])).batch(4)
with strategy.scope():
    model = keras.Sequential([keras.Input((9, 11, 5)), keras.layers.Activation("linear")])
    metrics = [PixelCounts(5), PixelCounts(5, "pixel_accuracy")]
    model.compile(loss=SegmentationLoss(), metrics=metrics, jit_compile=False)
figures = model.evaluate(dataset, verbose=0, return_dict=True)
print(strategy.num_replicas_in_sync, float(figures["miou"]), float(figures["pixel_accuracy"]))
"""


def test_two_devices_count_what_one_does(tmp_path):
    truth, logits = drawn(8)
    np.savez(tmp_path / "data.npz", truth=truth, logits=logits)
    command = [sys.executable, "-c", ON_TWO_DEVICES, str(tmp_path / "data.npz")]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert found[0] == "2"
    assert tuple(map(float, found[1:])) == pytest.approx(reference(truth, logits.argmax(-1)), rel=1e-6)


def test_it_is_kept_with_a_model():
    again = keras.metrics.deserialize(keras.metrics.serialize(PixelCounts(C, "pixel_accuracy")))
    assert (again.num_classes, again.figure, again.name) == (C, "pixel_accuracy", "pixel_accuracy")

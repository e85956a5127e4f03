"""Non-maximum suppression does what it says."""

from __future__ import annotations

import numpy as np
import pytest

from keras_vit.errors import InputError
from keras_vit.tasks.detection.suppression import Detections, detect


def crowded(seed: int, images: int = 3, places: int = 300, classes: int = 4) -> np.ndarray:
    """Outputs with many overlapping boxes of every class."""
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 60, (images, places, 2)), rng.uniform(1, 40, (images, places, 2))
    # No two scores are so near that rounding decides which is the surer.
    logits = rng.permuted(np.tile(np.linspace(-6, 4, places * classes), (images, 1)), axis=1)
    logits = logits.reshape(images, places, classes)
    return np.concatenate([corner, corner + size, logits], -1).astype("float32")


def test_a_surer_box_suppresses_those_of_its_class_alone():
    logits = [[3, -9], [2, 1], [1, -9], [-9, -9]]
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30], [50, 50, 60, 60]]
    found = detect(np.concatenate([boxes, logits], -1)[None].astype("float32"))[0]
    np.testing.assert_array_equal(found.classes, [0, 0, 1])
    np.testing.assert_array_equal(found.boxes, np.array(boxes, "float32")[[0, 2, 1]])
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp([-3.0, -1.0, -1.0])), rtol=1e-6)


def test_nothing_found_is_an_empty_list():
    outputs = crowded(0)
    outputs[..., 4:] = -1e4
    for found in detect(outputs):
        assert (found.boxes.shape, found.scores.shape, found.classes.shape) == ((0, 4), (0,), (0,))
        assert (found.boxes.dtype, found.scores.dtype, found.classes.dtype) == ("float32", "float32", "int64")


def test_what_is_less_sure_can_be_left_out():
    found = Detections(np.eye(2, 4, dtype="float32"), np.array([0.5, 0.4], "float32"), np.array([1, 0]))
    assert [len(found.above(score)) for score in (0.0, 0.45, 0.5, 0.51)] == [2, 1, 1, 0]
    assert found.above(0.45).classes.tolist() == [1]


@pytest.mark.parametrize(
    ("shape", "options", "sentence"),
    [
        ((2, 5), {}, r"\(images, places, 4 \+ classes\), not \(2, 5\)"),
        ((2, 5, 4), {}, "4 . classes"),
        ((1, 5, 6), {"iou_threshold": 60}, "iou_threshold is from 0 to 1, not 60"),
        ((1, 5, 6), {"score_threshold": -0.1}, "score_threshold is from 0 to 1"),
        ((1, 5, 6), {"max_detections": 0}, "max_detections is a whole number from 1"),
    ],
)
def test_wrong_arguments_get_one_sentence(shape, options, sentence):
    with pytest.raises(InputError, match=sentence):
        detect(np.zeros(shape, "float32"), **options)

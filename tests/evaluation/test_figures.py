"""Figures against scikit-learn and against numbers worked out by hand."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import sklearn.metrics as reference

from keras_vit.errors import InputError
from keras_vit.evaluation import (
    classification_figures,
    confusion,
    expected_calibration_error,
    per_class,
    predictions_table,
    softmax,
)


def names(classes: int) -> list[str]:
    return [f"class {i}" for i in range(classes)]


@pytest.fixture(params=[(200, 3), (300, 12), (50, 120)], ids=["3 classes", "12 classes", "more classes than images"])
def scored(request):
    images, classes = request.param
    rng = np.random.default_rng(images)
    labels = rng.integers(0, classes, images)
    logits = rng.normal(size=(images, classes)).astype("float32")
    logits[np.arange(images), labels] += 1.5
    return logits, labels


def test_figures_equal_scikit_learn(scored):
    logits, labels = scored
    classes = logits.shape[1]
    figures = classification_figures(logits, labels, names(classes))
    assert figures["top1"] == pytest.approx(reference.accuracy_score(labels, logits.argmax(1)))
    assert figures["loss"] == pytest.approx(
        reference.log_loss(labels, softmax(logits), labels=np.arange(classes)), rel=1e-6
    )
    assert figures["n"] == len(labels)
    assert ("top5" in figures) == (classes > 5)
    if classes > 5:
        top5 = reference.top_k_accuracy_score(labels, logits, k=5, labels=np.arange(classes))
        assert figures["top5"] == pytest.approx(top5)
    assert {type(v) for v in figures.values()} == {float, int}
    assert json.loads(json.dumps(figures)) == figures


def test_per_class_and_confusion_equal_scikit_learn(scored):
    logits, labels = scored
    classes = logits.shape[1]
    predicted = logits.argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = per_class(logits, labels, names(classes))
        matrix = confusion(logits, labels)
    report = reference.classification_report(
        labels,
        predicted,
        labels=np.arange(classes),
        target_names=names(classes),
        output_dict=True,
        zero_division=0,
    )
    assert [row["name"] for row in rows] == names(classes)
    for row in rows:
        expected = report[row["name"]]
        assert row["precision"] == pytest.approx(expected["precision"])
        assert row["recall"] == pytest.approx(expected["recall"])
        assert row["f1"] == pytest.approx(expected["f1-score"])
        assert row["support"] == expected["support"]
    np.testing.assert_array_equal(matrix, reference.confusion_matrix(labels, predicted, labels=np.arange(classes)))
    assert matrix.dtype.kind == "i"


def test_confusion_rows_are_the_truth():
    matrix = confusion(np.array([[0.0, 9.0], [0.0, 9.0], [9.0, 0.0]]), np.array([0, 1, 0]))
    assert matrix.tolist() == [[1, 1], [0, 1]]


def test_ece_worked_example():
    # Three bins of 15 are used: 0.62 and 0.66 lie in (9/15, 10/15], 0.9 in (13/15, 14/15], 1.0 in the last.
    confidence = np.array([0.62, 0.66, 0.9, 1.0])
    correct = np.array([True, False, True, True])
    by_hand = 2 / 4 * abs(0.5 - 0.64) + 1 / 4 * abs(1 - 0.9) + 0
    assert expected_calibration_error(confidence, correct) == pytest.approx(by_hand)


def test_ece_of_an_edge_belongs_to_the_lower_bin():
    # With two bins 0.5 joins 0.4, whose errors cancel against each other: |(1 - 0.5) + (0 - 0.4)| / 2.
    assert expected_calibration_error(np.array([0.5, 0.4]), np.array([True, False]), bins=2) == pytest.approx(0.05)


def test_ece_of_calibrated_and_overconfident_models():
    # 75 of 100 right, told with 75 % and with near certainty.
    labels = np.zeros(100, int)
    predicted = np.repeat([0, 1], [75, 25])
    for confidence, expected in ((0.75, 0.0), (1 - 1e-9, 0.25)):
        logits = np.full((100, 2), np.log(1 - confidence))
        logits[np.arange(100), predicted] = np.log(confidence)
        figures = classification_figures(logits, labels, ["a", "b"])
        assert figures["ece"] == pytest.approx(expected, abs=1e-8)
        assert figures["top1"] == 0.75


def test_loss_of_uniform_and_certain_models():
    labels = np.array([1, 0])
    assert classification_figures(np.zeros((2, 4)), labels, names(4))["loss"] == pytest.approx(np.log(4))
    certain = classification_figures(np.array([[0.0, 1000.0], [1000.0, 0.0]]), labels, names(2))
    assert certain == {"top1": 1.0, "loss": 0.0, "ece": 0.0, "n": 2}
    assert str(certain["loss"]) == "0.0"


def test_equal_logits_rank_by_index():
    figures = classification_figures(np.zeros((8, 8)), np.arange(8), names(8))
    assert figures["top1"] == 1 / 8
    assert figures["top5"] == 5 / 8


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_softmax_is_stable_and_shift_invariant(dtype):
    logits = np.random.default_rng(0).normal(scale=3, size=(20, 7)).astype(dtype)
    probabilities = softmax(logits)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    np.testing.assert_allclose(probabilities, softmax(logits.astype("float64") + 1e4), rtol=1e-8)
    assert np.isfinite(softmax(np.array([[60000, -60000]], dtype))).all()


def test_figures_do_not_depend_on_the_order_of_images(scored):
    logits, labels = scored
    order = np.random.default_rng(1).permutation(len(labels))
    one = classification_figures(logits, labels, names(logits.shape[1]))
    other = classification_figures(logits[order], labels[order], names(logits.shape[1]))
    assert one == pytest.approx(other)


def test_predictions_table_tells_the_likeliest_classes():
    logits = np.log(np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]]))
    table = predictions_table(logits, ["ant", "bee", "cat"], ["x.jpg", "y.jpg"], top=2)
    assert [row["file"] for row in table] == ["x.jpg", "y.jpg"]
    assert [[t["name"] for t in row["top"]] for row in table] == [["bee", "cat"], ["ant", "bee"]]
    assert [t["probability"] for t in table[0]["top"]] == pytest.approx([0.7, 0.2])
    everything = predictions_table(logits, ["ant", "bee", "cat"], ["x.jpg", "y.jpg"], top=9)
    assert sum(t["probability"] for t in everything[1]["top"]) == pytest.approx(1)
    json.dumps(table)


def test_logits_that_are_not_numbers_are_an_error_but_not_the_users():
    logits = np.zeros((3, 2))
    logits[1, 0] = np.nan
    with pytest.raises(ValueError, match="1 of 3 images are NaN or infinite: the model has diverged") as caught:
        classification_figures(logits, np.zeros(3, int), ["a", "b"])
    assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    ("logits", "labels", "class_names", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), ["a", "b"], "at least 1 each"),
        (np.zeros(3), np.zeros(3, int), ["a", "b"], r"\(images, classes\)"),
        (np.zeros((3, 2)), np.zeros(3, int), ["a"], "2 classes and 1 class names"),
        (np.zeros((3, 2)), np.zeros(2, int), ["a", "b"], "3 whole numbers"),
        (np.zeros((3, 2)), np.zeros(3), ["a", "b"], "not float64"),
        (np.zeros((3, 2)), np.array([0, 1, 2]), ["a", "b"], r"lie in 0\.\.1 for 2 classes, and these lie in 0\.\.2"),
        (np.zeros((3, 2)), np.array([0, -1, 1]), ["a", "b"], r"lie in -1\.\.1"),
    ],
)
def test_wrong_input_is_named(logits, labels, class_names, message):
    with pytest.raises(InputError, match=message):
        classification_figures(logits, labels, class_names)


def test_predictions_table_refuses_what_does_not_fit():
    with pytest.raises(InputError, match="1 file names were given for the logits of 2 images"):
        predictions_table(np.zeros((2, 2)), ["a", "b"], ["x.jpg"])
    with pytest.raises(InputError, match="at least 1, not 0"):
        predictions_table(np.zeros((1, 2)), ["a", "b"], ["x.jpg"], top=0)

"""Which mistakes are shown, and the words above images."""

from __future__ import annotations

import numpy as np

from keras_vit.evaluation import RIGHT, WRONG, from_worst, verdicts, worst_mistakes


def test_worst_mistakes_are_wrong_and_most_confident_first():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.99, 0.01], [0.2, 0.8]])
    labels = np.array([1, 0, 0, 0])
    assert worst_mistakes(np.log(probabilities), labels).tolist() == [0, 3, 1]
    assert worst_mistakes(np.log(probabilities), labels, count=2).tolist() == [0, 3]


def test_ties_go_to_the_least_likely_truth_then_to_the_earlier_image():
    logits = np.log(np.array([[0.6, 0.3, 0.1], [0.6, 0.1, 0.3], [0.6, 0.1, 0.3]]))
    assert worst_mistakes(logits, np.array([1, 1, 1])).tolist() == [1, 2, 0]


def test_a_faultless_model_has_no_mistakes():
    assert worst_mistakes(np.eye(3), np.arange(3)).tolist() == []


def test_the_worst_is_what_the_truth_was_least_expected_of():
    logits = np.log(np.array([[0.6, 0.4], [0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.9, 0.1]]))
    assert from_worst(logits, np.array([1, 1, 1, 1, 0])).tolist() == [1, 0, 2, 3, 4]


def test_verdicts_differ_in_words_and_colour():
    logits = np.log(np.array([[0.88, 0.12], [0.03, 0.97]]))
    titles, colours = verdicts(logits, np.array([1, 1]), ["ant", "100% bee"])
    assert titles == ["ant (88 %)\ntruth: 100% bee", "100% bee (97 %)"]
    assert colours == [WRONG, RIGHT]

"""Which images to show a person, and what to write above them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_vit.evaluation.figures import check_labels, check_logits, log_softmax

RIGHT = "#0072B2"
WRONG = "#D55E00"
"""Blue and vermilion of the colour-blind-safe palette of Okabe and Ito (2008)."""


def worst_mistakes(logits: np.ndarray, labels: np.ndarray, count: int = 24) -> np.ndarray:
    """The images that the model got wrong with the most confidence, the worst first.

    Of equally confident mistakes the one that gave the truth the least probability comes first, then the earlier
    image, so the same logits always give the same list.

    Args:
        logits: (n, C) float.
        labels: (n,) int, 0..C-1.
        count: how many at most.

    Returns:
        Indices into the images, (m,) int with m <= count; empty when nothing is wrong.

    Raises:
        InputError: shapes or labels that do not fit together.
        ValueError: logits that are NaN or infinite.
    """
    logits = check_logits(logits)
    labels = check_labels(labels, logits)
    log_probabilities = log_softmax(logits)
    wrong = np.flatnonzero(logits.argmax(axis=1) != labels)
    confidence = log_probabilities[wrong].max(axis=1)
    truth = log_probabilities[wrong, labels[wrong]]
    return wrong[np.lexsort((wrong, truth, -confidence))][:count]


def from_worst(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """All images, those first whose truth the model gave the least probability; of equal ones the earlier first.

    Args:
        logits: (n, C) float.
        labels: (n,) int, 0..C-1.

    Returns:
        Indices into the images, (n,) int.

    Raises:
        InputError: shapes or labels that do not fit together.
        ValueError: logits that are NaN or infinite.
    """
    logits = check_logits(logits)
    labels = check_labels(labels, logits)
    return np.argsort(log_softmax(logits)[np.arange(len(labels)), labels], kind="stable")


def verdicts(logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Titles and colours of predicted images, for `contact_sheet`.

    Right and wrong differ in words as well as in colour.

    Args:
        logits: (n, C) float.
        labels: (n,) int, 0..C-1.
        class_names: C names.

    Returns:
        n titles, `"bee (97 %)"` or `"ant (88 %)\\ntruth: bee"`, and n colours, `RIGHT` or `WRONG`.

    Raises:
        InputError: shapes, labels or names that do not fit together.
        ValueError: logits that are NaN or infinite.
    """
    logits = check_logits(logits, class_names)
    labels = check_labels(labels, logits)
    predicted = logits.argmax(axis=1)
    confidence = np.exp(log_softmax(logits).max(axis=1))
    titles, colours = [], []
    for guess, truth, p in zip(predicted, labels, confidence, strict=True):
        said = f"{class_names[guess]} ({100 * p:.0f} %)"
        titles.append(said if guess == truth else f"{said}\ntruth: {class_names[truth]}")
        colours.append(RIGHT if guess == truth else WRONG)
    return titles, colours

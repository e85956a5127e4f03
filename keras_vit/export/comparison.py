"""How far the outputs of a file are from those of its source, and how good they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LEAST = 1e-6
"""Smaller probabilities count as this in the Kullback-Leibler divergence: int8 outputs are often exactly 0."""

MOST_SHOWN = 8
"""So many disagreements are told in detail."""
TOP = 3


@dataclass(frozen=True)
class Metric:
    """What a task scores outputs by.

    Attributes:
        name: of the figure, such as `"top1"`.
        score: outputs of n images and their labels -> a fraction, the larger the better.
    """

    name: str
    score: Callable[[np.ndarray, np.ndarray], float]


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Top-1 accuracy, a fraction, of (n, C) probabilities and (n,) labels."""
    return float((probabilities.argmax(-1) == labels).mean())


TOP1 = Metric("top1", accuracy)
"""Of classification."""


def compare(outputs: np.ndarray, source: np.ndarray, labels: np.ndarray, metric: Metric) -> dict:
    """A file's probabilities against its source's.

    Args:
        outputs: (n, ..., C) of the file.
        source: (n, ..., C) of the source.
        labels: of the n images.
        metric: of the task.

    Returns:
        `max_error` and `mean_error` of the probabilities, and `kl`, the mean Kullback-Leibler divergence
        KL(source || file) in nats, all three None when an output is not finite; `agreement`, the share of images, or
        of pixels, with the source's top-1 class; and `metric`, the file's score.
    """
    finite = bool(np.isfinite(outputs).all())
    error = np.abs(outputs.astype("float64") - source)
    return {
        "max_error": float(error.max()) if finite else None,
        "mean_error": float(error.mean()) if finite else None,
        "kl": divergence(source, outputs) if finite else None,
        "agreement": float((outputs.argmax(-1) == source.argmax(-1)).mean()),
        "metric": metric.score(outputs, labels),
    }


def divergence(source: np.ndarray, outputs: np.ndarray) -> float:
    """Mean of KL(source || outputs) in nats, of distributions (n, ..., C)."""
    p, q = (np.maximum(np.asarray(values, "float64"), LEAST) for values in (source, outputs))
    p, q = (values / values.sum(-1, keepdims=True) for values in (p, q))
    return float((p * np.log(p / q)).sum(-1).mean())


def disagreements(
    outputs: np.ndarray, source: np.ndarray, labels: np.ndarray, names: Sequence[str], most: int = MOST_SHOWN
) -> list[dict]:
    """The images for which a file chooses another class than its source, the most decided of them first.

    Args:
        outputs: (n, C) probabilities of the file.
        source: (n, C) probabilities of the source.
        labels: (n,) true classes.
        names: n names of the images.
        most: tell at most so many.

    Returns:
        `{"index", "image", "label", "source", "file"}` each: the image's index and file name, its true class, and the
        top classes of source and file as `[class, probability]`.
    """
    images = np.flatnonzero(outputs.argmax(-1) != source.argmax(-1))
    chosen, wanted = outputs[images].max(-1), outputs[images, source[images].argmax(-1)]
    decided = images[np.argsort(wanted - chosen, kind="stable")][:most]
    return [
        {
            "index": int(index),
            "image": Path(names[index]).name,
            "label": int(labels[index]),
            "source": _top(source[index]),
            "file": _top(outputs[index]),
        }
        for index in decided
        if np.isfinite(outputs[index]).all()
    ]


def _top(probabilities: np.ndarray) -> list[list]:
    best = np.argsort(-probabilities, kind="stable")[:TOP]
    return [[int(index), float(probabilities[index])] for index in best]

"""The figures of a classifier, from its logits (n images, C classes) and the true labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_vit.errors import InputError

ECE_BINS = 15


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the class probabilities (n, C), float64, without overflow for logits of any size."""
    shifted = logits - np.max(logits, axis=-1, keepdims=True).astype(np.float64)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Class probabilities (n, C), float64, without overflow for logits of any size."""
    return np.exp(log_softmax(logits))


def check_logits(logits: np.ndarray, class_names: Sequence[str] | None = None) -> np.ndarray:
    """The logits as an array (n, C), once they are known to be usable.

    Raises:
        InputError: not two-dimensional, no images, no classes, or another number of classes than names.
        ValueError: some logits are NaN or infinite, so the model has diverged.
    """
    logits = np.asarray(logits)
    if logits.ndim != 2 or 0 in logits.shape:
        raise InputError(f"logits must have the shape (images, classes), at least 1 each, not {logits.shape}.")
    if class_names is not None and len(class_names) != logits.shape[1]:
        raise InputError(
            f"the model has {logits.shape[1]} classes and {len(class_names)} class names were given: "
            "give one name for each class."
        )
    bad = np.count_nonzero(~np.isfinite(logits).all(axis=1))
    if bad:
        raise ValueError(
            f"the logits of {bad} of {len(logits)} images are NaN or infinite: the model has diverged; "
            "train it again with a lower learning rate or in float32."
        )
    return logits


def check_labels(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The labels as an integer array (n,), once they are known to belong to `logits` (n, C).

    Raises:
        InputError: another number of labels than images, not integers, or outside 0..C-1.
    """
    labels = np.asarray(labels)
    if labels.shape != (len(logits),) or labels.dtype.kind not in "iu":
        raise InputError(
            f"labels must be {len(logits)} whole numbers, one for each image, "
            f"not {labels.dtype} of shape {labels.shape}."
        )
    classes = logits.shape[1]
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            f"labels must lie in 0..{classes - 1} for {classes} classes, "
            f"and these lie in {labels.min()}..{labels.max()}."
        )
    return labels.astype(np.int64)


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = ECE_BINS) -> float:
    """Mean distance between confidence and accuracy over equal-width bins of confidence, weighted by their size.

    Bin m of M holds the confidences in ((m-1)/M, m/M] (Guo et al., On Calibration of Modern Neural Networks, 2017).

    Args:
        confidence: (n,) probability of the predicted class.
        correct: (n,) bool, whether the prediction was right.
        bins: M.
    """
    edges = np.linspace(0, 1, bins + 1)
    members = np.digitize(confidence, edges[1:-1], right=True)
    # sum over bins of |B|/n * |accuracy - confidence|; |B| cancels against the means inside.
    gaps = np.bincount(members, weights=np.asarray(correct, np.float64) - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def classification_figures(
    logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> dict[str, float | int]:
    """What `metrics.json` holds for one split.

    Equal logits are ranked by class index, as `argmax` does.

    Args:
        logits: (n, C) float.
        labels: (n,) int, 0..C-1.
        class_names: C names.

    Returns:
        `top1`, `top5` (only for more than 5 classes), `ece` as fractions; `loss`, the mean cross-entropy in nats;
        `n`, the number of images.

    Raises:
        InputError: shapes, labels or names that do not fit together.
        ValueError: logits that are NaN or infinite.
    """
    logits = check_logits(logits, class_names)
    labels = check_labels(labels, logits)
    log_probabilities = log_softmax(logits)
    rank = _rank_of_truth(logits, labels)
    figures = {"top1": float(np.mean(rank == 0))}
    if logits.shape[1] > 5:
        figures["top5"] = float(np.mean(rank < 5))
    # The + 0.0 turns the -0.0 of a certain, right model into 0.0.
    figures["loss"] = float(-np.mean(log_probabilities[np.arange(len(labels)), labels])) + 0.0
    figures["ece"] = expected_calibration_error(np.exp(log_probabilities.max(axis=1)), rank == 0)
    figures["n"] = len(labels)
    return figures


def per_class(logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> list[dict]:
    """Precision, recall, F1 and the number of images of each class (scikit-learn), in the order of the classes.

    A figure with nothing to divide by (a class that is absent, or never predicted) is 0.0; `support` tells which.

    Args:
        logits: (n, C) float.
        labels: (n,) int, 0..C-1.
        class_names: C names.

    Returns:
        C rows `{"name", "precision", "recall", "f1", "support"}`, fractions and a count.

    Raises:
        InputError: shapes, labels or names that do not fit together.
        ValueError: logits that are NaN or infinite.
    """
    from sklearn.metrics import precision_recall_fscore_support

    logits = check_logits(logits, class_names)
    labels = check_labels(labels, logits)
    columns = precision_recall_fscore_support(
        labels, logits.argmax(axis=1), labels=np.arange(logits.shape[1]), zero_division=0
    )
    return [
        {"name": str(name), "precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
        for name, p, r, f, s in zip(class_names, *columns, strict=True)
    ]


def confusion(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many images of each true class (rows) were taken for each class (columns): (C, C) int64.

    Raises:
        InputError: shapes or labels that do not fit together.
        ValueError: logits that are NaN or infinite.
    """
    logits = check_logits(logits)
    labels = check_labels(labels, logits)
    classes = logits.shape[1]
    pairs = labels * classes + logits.argmax(axis=1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def predictions_table(
    logits: np.ndarray, class_names: Sequence[str], files: Sequence[str], *, top: int = 5
) -> list[dict]:
    """The likeliest classes of each image, for `keras-vit predict`.

    Args:
        logits: (n, C) float.
        class_names: C names.
        files: n names of the images.
        top: how many classes to tell of each image (at most C are).

    Returns:
        n rows `{"file": str, "top": [{"name": str, "probability": float}, ...]}`, the likeliest class first.

    Raises:
        InputError: shapes or names that do not fit together, or `top` below 1.
        ValueError: logits that are NaN or infinite.
    """
    logits = check_logits(logits, class_names)
    if len(files) != len(logits):
        raise InputError(f"{len(files)} file names were given for the logits of {len(logits)} images: give one each.")
    if top < 1:
        raise InputError(f"top is how many classes are told of each image, at least 1, not {top}.")
    probabilities = softmax(logits)
    order = np.argsort(-logits.astype(np.float64), axis=1, kind="stable")[:, :top]
    return [
        {
            "file": str(file),
            "top": [{"name": str(class_names[c]), "probability": float(row[c])} for c in best],
        }
        for file, row, best in zip(files, probabilities, order, strict=True)
    ]


def _rank_of_truth(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes stand before the true one, (n,)."""
    truth = np.take_along_axis(logits, labels[:, None], axis=1)
    tied_before = (logits == truth) & (np.arange(logits.shape[1]) < labels[:, None])
    return np.count_nonzero((logits > truth) | tied_before, axis=1)

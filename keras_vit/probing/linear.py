"""A linear probe: logistic regression on standardised features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_vit import evaluation
from keras_vit.errors import InputError
from keras_vit.evaluation.figures import log_softmax
from keras_vit.probing.probed import Labelled, Probed, checked
from keras_vit.tasks.shipping import SMALLEST
from keras_vit.tasks.task import shown

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

CS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""What C is chosen from: the inverse strength of the L2 penalty."""
FOLDS = 5
ITERATIONS = 2000


def linear_classifier(
    features: np.ndarray, labels: np.ndarray, *, c: float | None = None, seed: int = 0, progress: bool = False
) -> Pipeline:
    """Fits scikit-learn's `StandardScaler` and `LogisticRegression`.

    Args:
        features: (n, D).
        labels: (n,) whole numbers, at least two of them.
        c: inverse strength of the L2 penalty; by default the one of `CS` whose accuracy in a stratified 5-fold
            cross-validation on these images is best, the smallest where several are.
        seed: of the folds.
        progress: show a bar while C is chosen.

    Returns:
        The fitted pipeline; its last step's `C` is what was used.

    Raises:
        InputError: c is not above 0, or to be chosen where a class has a single image.
    """
    check_c(c, labels)
    features = np.asarray(features, np.float64)
    c = _choose(features, labels, seed, progress) if c is None else c
    return _pipeline(c).fit(features, labels)


def linear(
    train: Labelled,
    judged: Labelled,
    class_names: Sequence[str],
    *,
    c: float | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Probed:
    """Judges features by a linear classifier on them.

    Args:
        train: features (n, D) and classes (n,) that it learns.
        judged: of the images that it is judged on.
        class_names: C names. Classes without training images come last for every image.
        c, seed, progress: as `linear_classifier` takes them.

    Returns:
        `top1`, `top5`, `loss`, `ece` and `n`.

    Raises:
        InputError: inputs that do not fit together, or as of `linear_classifier`.
    """
    train, judged = checked(train, judged, class_names)
    classifier = linear_classifier(*train, c=c, seed=seed, progress=progress)
    logits = _logits(classifier, judged[0], len(class_names))
    return Probed(
        "linear",
        {"c": float(classifier[-1].C)},
        evaluation.classification_figures(logits, judged[1], class_names),
        evaluation.per_class(logits, judged[1], class_names),
        logits.argmax(axis=1),
    )


def check_c(c: float | None, labels: np.ndarray) -> None:
    """Refuses a penalty that is none, or one that cannot be chosen.

    Raises:
        InputError: c is not above 0, or None where a class has a single training image.
    """
    if c is None and _smallest(labels) < 2:
        raise InputError("A class has one training image, too few to choose C by cross-validation: give c.")
    if c is not None and not 0 < c < np.inf:
        raise InputError(f"c is the inverse strength of the penalty, above 0, not {c!r}.")


def _smallest(labels: np.ndarray) -> int:
    """Images of the class that has the fewest, but some."""
    return int(np.unique(labels, return_counts=True)[1].min())


def _pipeline(c: float) -> Pipeline:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=ITERATIONS))


def _choose(features: np.ndarray, labels: np.ndarray, seed: int, progress: bool) -> float:
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    folds = StratifiedKFold(min(FOLDS, _smallest(labels)), shuffle=True, random_state=seed)
    scores = [
        cross_val_score(_pipeline(c), features, labels, cv=folds).mean()
        for c in shown(CS, len(CS), progress, "choosing C")
    ]
    return CS[int(np.argmax(scores))]


def _logits(classifier: Pipeline, features: np.ndarray, classes: int) -> np.ndarray:
    decision = classifier.decision_function(np.asarray(features, np.float64))
    if decision.ndim == 1:
        decision = np.stack([np.zeros_like(decision), decision], axis=1)
    known = log_softmax(decision)
    logits = np.full((len(features), classes), known.min() + np.log(SMALLEST))
    logits[:, classifier.classes_] = known
    return logits

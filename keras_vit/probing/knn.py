"""k-nearest neighbours over frozen features, as DINO judges its encoders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_vit import evaluation
from keras_vit.errors import InputError
from keras_vit.probing.probed import Labelled, Probed, checked
from keras_vit.tasks.task import shown

KS = (10, 20)
TEMPERATURE = 0.07
CHUNK = 1024
"""Images whose neighbours are looked for at a time."""


def neighbours(
    train: np.ndarray, queries: np.ndarray, k: int, *, progress: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The training features that are nearest by cosine, by an exact search in chunks (scikit-learn).

    Args:
        train: (n, D).
        queries: (m, D).
        k: how many for each query.
        progress: show a bar.

    Returns:
        Similarities -1..1 (m, k), the nearest first, and indices into `train` (m, k).

    Raises:
        InputError: k is below 1 or above n.
    """
    from sklearn.neighbors import NearestNeighbors

    check_k(k, len(train))
    search = NearestNeighbors(n_neighbors=int(k), metric="cosine", algorithm="brute").fit(train)
    starts = range(0, len(queries), CHUNK)
    parts = [
        search.kneighbors(queries[start : start + CHUNK])
        for start in shown(starts, len(starts), progress, "finding neighbours")
    ]
    distances, indices = (np.concatenate(part) for part in zip(*parts, strict=True))
    return 1 - distances, indices


def knn(
    train: Labelled,
    judged: Labelled,
    class_names: Sequence[str],
    *,
    k: Sequence[int] = KS,
    temperature: float | None = TEMPERATURE,
    progress: bool = False,
) -> list[Probed]:
    """Judges features by their neighbours: each of the k nearest votes for its class with exp(similarity / T).

    Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, 2018; DINO (Caron et al.,
    2021, `eval_knn.py`), which takes the best of k = 10, 20, 100, 200. A class without a vote is never among the first
    five. Nothing is random.

    Args:
        train: features (n, D) and classes (n,) of the neighbours.
        judged: of the images that are asked about.
        class_names: C names.
        k: numbers of neighbours, one result each.
        temperature: T; None lets all neighbours count the same.
        progress: show a bar.

    Returns:
        For each k, in order, `top1`, `top5` and `n`.

    Raises:
        InputError: inputs that do not fit together, no k or one larger than n, or a temperature that is not above 0.
    """
    train, judged = checked(train, judged, class_names)
    check_ks(k, len(train[0]))
    if temperature is not None and not temperature > 0:
        raise InputError(f"temperature is above 0, or None for equal votes, not {temperature!r}.")
    similarities, indices = neighbours(train[0], judged[0], max(k), progress=progress)
    found = []
    for each in k:
        shares = _shares(similarities[:, :each], train[1][indices[:, :each]], len(class_names), temperature)
        settings = {"k": int(each), "temperature": temperature}
        rows = evaluation.per_class(shares, judged[1], class_names)
        found.append(Probed("knn", settings, _figures(shares, judged[1]), rows, shares.argmax(axis=1)))
    return found


def check_ks(k: Sequence[int], images: int) -> None:
    """Refuses numbers of neighbours that `images` training images cannot give.

    Raises:
        InputError: no list of whole numbers, or one of them is below 1 or too large.
    """
    if not isinstance(k, Sequence) or isinstance(k, str) or not k:
        raise InputError(f"k is a list of numbers of neighbours, for instance {list(KS)}, not {k!r}.")
    for each in k:
        check_k(each, images)


def check_k(k: int, images: int) -> None:
    """As `check_ks`, of one number."""
    if not isinstance(k, (int, np.integer)) or isinstance(k, bool) or k < 1:
        raise InputError(f"k is a number of neighbours, at least 1, not {k!r}.")
    if k > images:
        raise InputError(f"There are {images} training images, fewer than k = {k} neighbours: choose a smaller k.")


def _shares(similarities: np.ndarray, labels: np.ndarray, classes: int, temperature: float | None) -> np.ndarray:
    """Similarities and classes of neighbours (m, k) -> the share of the votes of each class (m, C), float64."""
    votes = np.ones(similarities.shape)
    if temperature is not None:
        # Only ratios count: relative to the nearest one nothing overflows.
        votes = np.exp((similarities - similarities[:, :1]).astype(np.float64) / temperature)
    shares = np.zeros((len(votes), classes))
    np.add.at(shares, (np.arange(len(votes))[:, None], labels), votes / votes.sum(axis=1, keepdims=True))
    return shares


def _figures(shares: np.ndarray, labels: np.ndarray) -> dict[str, float | int]:
    first = np.argsort(-shares, axis=1, kind="stable")[:, :5]
    hits = (first == labels[:, None]) & (np.take_along_axis(shares, first, axis=1) > 0)
    figures = {"top1": float(hits[:, 0].mean())}
    if shares.shape[1] > 5:
        figures["top5"] = float(hits.any(axis=1).mean())
    return {**figures, "n": len(labels)}

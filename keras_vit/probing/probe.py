"""`probe`: the simple classifiers over frozen features, by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_vit.errors import InputError, suggest
from keras_vit.probing.knn import KS, TEMPERATURE, check_ks, knn
from keras_vit.probing.linear import check_c, linear
from keras_vit.probing.probed import Labelled, Probed, check_classes

METHODS = ("knn", "linear")


def probe(
    train: Labelled,
    judged: Labelled,
    class_names: Sequence[str],
    *,
    methods: Sequence[str] = METHODS,
    k: Sequence[int] = KS,
    temperature: float | None = TEMPERATURE,
    c: float | None = None,
    seed: int = 0,
    progress: bool = False,
) -> list[Probed]:
    """Judges an encoder by its features: how well simple classifiers on them know new images.

        encoder = Embedder(model)
        train, val = ((encoder.embed(split), split.labels) for split in (data.train, data.val))
        probe(train, val, data.class_names, methods=["knn"])[0].figures["top1"]

    Args:
        train: features (n, D) and classes (n,) that are learned from.
        judged: of the images that the classifiers are judged on.
        class_names: C names.
        methods: some of `METHODS`.
        k, temperature: of `knn`.
        c, seed: of `linear`; the seed draws the folds that choose C.
        progress: show bars.

    Returns:
        One result for each method, for `knn` one for each k.

    Raises:
        InputError: an unknown method, or inputs that do not fit; says what is wrong.
    """
    check_settings(np.asarray(train[1]), class_names, methods=methods, k=k, c=c)
    found = []
    for method in methods:
        if method == "knn":
            found += knn(train, judged, class_names, k=k, temperature=temperature, progress=progress)
        else:
            found.append(linear(train, judged, class_names, c=c, seed=seed, progress=progress))
    return found


def check_settings(
    labels: np.ndarray,
    class_names: Sequence[str],
    *,
    methods: Sequence[str] = METHODS,
    k: Sequence[int] = KS,
    c: float | None = None,
) -> None:
    """Refuses settings that cannot work, before the features are there, which take their time.

    Args:
        labels: classes (n,) of the training images.
        class_names, methods, k, c: as `probe` takes them.

    Raises:
        InputError: what `probe` would raise of them.
    """
    if isinstance(methods, str) or not len(methods):
        raise InputError(f"methods is a list of {', '.join(METHODS)}, not {methods!r}.")
    for method in methods:
        if method not in METHODS:
            raise InputError(f"There is no method {method!r}: {suggest(method, METHODS)}")
    check_classes(labels, class_names)
    if "knn" in methods:
        check_ks(k, len(labels))
    if "linear" in methods:
        check_c(c, labels)

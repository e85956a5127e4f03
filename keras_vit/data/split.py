"""Splits that the data does not come with: seeded, and stratified where images have one class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from keras_vit.data.examples import SPLITS, Source
from keras_vit.data.labels import Labels
from keras_vit.errors import InputError


def carve(
    source: Source,
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    strata: Callable[[np.ndarray | Labels], np.ndarray | None],
) -> Source:
    """Makes the splits that are missing out of `train`, each with the same share of every class where there is one.

    Only `train` is there: val and test are carved; `train` and `test`: val is carved; `train` and `val`: kept as is.

    Args:
        source: what a reader found.
        val_fraction, test_fraction: shares of the images (of each class), 0 for no such split.
        seed: which images.
        strata: from labels to the class of each image (n,), or None for a plain shuffle.

    Returns:
        The source with splits in the order train, val, test, and notes on what was carved.

    Raises:
        InputError: no `train`, fractions that leave nothing, or a class with too few images.
    """
    for name, fraction in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 <= fraction < 1:
            raise InputError(f"{name} must be at least 0 and below 1, not {fraction}.")
    if val_fraction + test_fraction >= 1:
        raise InputError(
            f"val_fraction {val_fraction} and test_fraction {test_fraction} leave nothing to train on: lower them."
        )
    splits = source.splits
    if "train" not in splits:
        raise InputError(f"The data has {', '.join(splits)} but no train split: name the images to train on train.")
    fractions = {}
    if "val" not in splits:
        fractions["val"] = val_fraction
        if "test" not in splits:
            fractions["test"] = test_fraction
    fractions = {name: fraction for name, fraction in fractions.items() if fraction > 0}
    if not fractions:
        return Source(_ordered(splits), source.class_names, source.notes)
    groups = strata(splits["train"].labels)
    if groups is None:
        parts = _shuffled(len(splits["train"]), fractions, seed)
    else:
        parts = _stratified(groups, fractions, source.class_names, seed)
    carved = {name: splits["train"].subset(indices) for name, indices in parts.items()}
    sizes = ", ".join(f"{len(carved[name])} for {name} ({fraction:.0%})" for name, fraction in fractions.items())
    how = "at random" if groups is None else "by class"
    note = f"Split: of {len(splits['train'])} train images {sizes} were set aside, {how}, seed {seed}."
    return Source(_ordered(splits | carved), source.class_names, [*source.notes, note])


def _ordered(splits: dict) -> dict:
    return {name: splits[name] for name in SPLITS if name in splits}


def _shuffled(n: int, fractions: dict[str, float], seed: int) -> dict[str, np.ndarray]:
    """Sorted indices per split, `train` taking what remains; every split gets at least one image."""
    if n <= len(fractions):
        raise InputError(
            f"The data has {n} image(s), too few for {len(fractions) + 1} splits: add images, or turn splits off with "
            "val_fraction=0 and test_fraction=0."
        )
    members, parts = np.random.default_rng(seed).permutation(n), {}
    for name, fraction in fractions.items():
        count = max(1, round(n * fraction))
        parts[name], members = members[:count], members[count:]
    return {name: np.sort(indices) for name, indices in (parts | {"train": members}).items()}


def _stratified(
    labels: np.ndarray, fractions: dict[str, float], class_names: list[str], seed: int
) -> dict[str, np.ndarray]:
    """Sorted indices per split, `train` taking what remains; every split gets at least one image of each class."""
    rng = np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in (*fractions, "train")}
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        if len(members) < len(parts):
            raise InputError(
                f"Class {class_names[label]!r} has {len(members)} image(s), too few for {len(parts)} splits: add "
                "images, or turn splits off with val_fraction=0 and test_fraction=0."
            )
        whole = len(members)
        for name, fraction in fractions.items():
            count = max(1, round(whole * fraction))
            parts[name].append(members[:count])
            members = members[count:]
        parts["train"].append(members)
    return {name: np.sort(np.concatenate(indices)) for name, indices in parts.items()}

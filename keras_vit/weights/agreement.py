"""What a network can differ in without any array showing it: what a file says of itself is held against the model.

Names and shapes are the same, and the outputs would be others: the activation, the number of heads, the epsilon of the
normalisations, and what the classifier was trained to see.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from keras_vit.errors import InputError
from keras_vit.heads.classification import POOLINGS
from keras_vit.variants import FAMILIES, Family
from keras_vit.weights.architecture import Architecture
from keras_vit.weights.dialects.timm import FINAL_NORM
from keras_vit.weights.formats import Checkpoint

EPSILON = 1e-5
"""A difference of epsilons that outputs do not show: tokens have a variance of 0.01 and more. Hugging Face has 1e-12
for networks that were trained with 1e-6."""


def check(checkpoint: Checkpoint, architecture: Architecture) -> None:
    """Refuses a file that says that it is another network.

    Raises:
        InputError: another activation or number of heads than the model's.
    """
    variant, file = architecture.variant, checkpoint.name
    said = checkpoint.metadata.get("activation")
    if said and said != variant.family.activation and not variant.size.gated:
        others = [
            name for name, family in FAMILIES.items() if family.activation == said and variant.size_name in family.sizes
        ]
        raise InputError(
            f"{file} was trained with the activation {said!r:.40}, and {variant.name} has {variant.family.activation}: "
            f"choose another family, for instance {' or '.join(others[-2:]) or 'vit'}."
        )
    said = checkpoint.metadata.get("num_heads")
    if said and said != str(variant.size.num_heads):
        raise InputError(
            f"{file} was trained with {said!r:.40} attention heads, and {variant.name} has {variant.size.num_heads}: "
            "choose the family and size that the file is of."
        )


def remarks(checkpoint: Checkpoint, architecture: Architecture, read: Iterable[str], classifies: bool) -> list[str]:
    """What a user has to know before trusting the outputs, a sentence each.

    Args:
        checkpoint: that fits the model.
        architecture: of the model.
        read: what the dialect calls the arrays that were read.
        classifies: whether the model's classifier is the file's.
    """
    found, family = [], architecture.variant.family
    if "activation" not in checkpoint.metadata and not architecture.variant.size.gated:
        twins = [name for name, other in FAMILIES.items() if other is not family and _twins(family, other)]
        if twins:
            found.append(
                f"the file does not say its activation: it is taken for {family.activation}, which "
                f"{' and '.join(twins)} {'has' if len(twins) == 1 else 'have'} not"
            )
    epsilon = _number(checkpoint.metadata.get("norm_epsilon"))
    if epsilon is not None and abs(epsilon - family.norm_epsilon) > EPSILON:
        found.append(f"the file's normalisations had epsilon {epsilon:g}, the model's have {family.norm_epsilon:g}")
    # timm calls the last normalisation so where it comes after an average.
    averaged = not set(FINAL_NORM[1][0].theirs).isdisjoint(read)
    pooling = "avg" if averaged else checkpoint.metadata.get("pooling")
    if classifies and pooling in POOLINGS and pooling != architecture.pooling:
        found.append(
            f"the classifier was trained on pooling={pooling!r} and sees pooling={architecture.pooling!r} here"
        )
    return found


def _twins(family: Family, other: Family) -> bool:
    """Whether two families differ in nothing but the activation that changes outputs and shows in no array."""
    mine = {"sizes": family.sizes, "paper": family.paper, "own": family.own, "preprocessing": family.preprocessing}
    return other.activation != family.activation and family == dataclasses.replace(
        other, activation=family.activation, **mine
    )


def _number(text: str | None) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None

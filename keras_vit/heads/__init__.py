"""Heads: functions from the encoder's tokens to a model's outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from keras_vit.heads.classification import classification_head
from keras_vit.heads.detection import anchor_free_head
from keras_vit.heads.given import Given
from keras_vit.heads.segmentation import (
    dpt_segmentation,
    fpn_segmentation,
    linear_segmentation,
    mask_segmentation,
    pup_segmentation,
    upernet_segmentation,
)


@dataclass(frozen=True)
class Heads:
    """The heads of one task.

    Attributes:
        by_name: name -> function; the first is the default. Called as `head(given, **options)`, it returns the
            model's symbolic outputs; the keyword arguments with defaults are what users may set.
        dense: whether outputs belong to places of the image: such models take images that patches do not divide, and
            fill them up at the right and at the bottom.
    """

    by_name: Mapping[str, Callable]
    dense: bool = False


HEADS: dict[str, Heads] = {
    "classification": Heads({"linear": classification_head}),
    "segmentation": Heads(
        {
            "linear": linear_segmentation,
            "mask": mask_segmentation,
            "fpn": fpn_segmentation,
            "upernet": upernet_segmentation,
            "dpt": dpt_segmentation,
            "pup": pup_segmentation,
        },
        dense=True,
    ),
    "detection": Heads({"anchor_free": anchor_free_head}, dense=True),
}
"""Task -> its heads."""

HEAD_LAYERS = ("pool", "pool_distilled", "pyramid", "head", "head_distilled")
"""Layers that a new task brings its own of. The last normalisation is not among them: weights have it."""

__all__ = ["HEADS", "HEAD_LAYERS", "Given", "Heads", "classification_head"]

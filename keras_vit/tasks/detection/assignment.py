"""Which places learn which objects, in `keras.ops` with static shapes. Nothing here takes a gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from keras import ops

from keras_vit.tasks.detection.boxes import iou

LEAST_IOU = 1e-3
"""So that an object whose places predict boxes beside it still chooses the likeliest of them."""


@dataclass(frozen=True)
class Assignment:
    """What every place shall say.

    Attributes:
        boxes: (B, A, 4), the object's box where there is one; anything elsewhere.
        classes: (B, A, C), the quality of the place's box for the class of its object, 0..1, and 0 elsewhere.
    """

    boxes: object
    classes: object


def task_aligned(
    truth, boxes, probabilities, centres: np.ndarray, *, topk: int = 13, alpha: float = 0.5, beta: float = 6.0
) -> Assignment:
    """Every object takes the places that classify it and box it best (TOOD, Feng et al., 2021; used by YOLOv8).

    A place is a candidate for an object when its centre lies inside the object's box, which counts as at least one
    cell of the finest level large, so that no object is too small to be learned. An object's best `topk` candidates
    by probability^alpha * IoU^beta are its own; a place that several objects want goes to the one that it overlaps
    most. The targets are these scores, scaled so that an object's best place has the IoU of its best box.

    Args:
        truth: (B, M, 5), x0, y0, x1, y1 in pixels and the class; rows of class -1 are no objects.
        boxes: (B, A, 4) predicted, in pixels.
        probabilities: (B, A, C) predicted.
        centres: (A, 3), see `place_centres`.
        topk: places an object at most; fewer when there are fewer places.
        alpha: weight of the classification.
        beta: weight of the overlap.
    """
    truth, boxes, probabilities = (ops.stop_gradient(x) for x in (truth, boxes, probabilities))
    classes = ops.one_hot(ops.cast(truth[..., 4], "int32"), probabilities.shape[-1])
    overlap = iou(truth[:, :, None, :4], boxes[:, None])
    score = ops.matmul(classes, ops.swapaxes(probabilities, 1, 2)) ** alpha
    score = score * ops.maximum(overlap, LEAST_IOU) ** beta * _candidates(truth, centres)

    least = ops.top_k(score, min(topk, centres.shape[0]))[0][..., -1:]
    wanted = ops.logical_and(score >= least, score > 0)
    claims = ops.where(wanted, overlap, -1.0)
    owner = ops.argmax(claims, axis=1)
    # A place goes to one object: the first of those that claim it most.
    owned = ops.swapaxes(ops.one_hot(owner, truth.shape[1]), 1, 2) * ops.cast(wanted, "float32")

    score = score * owned
    best_score = ops.max(score, axis=-1, keepdims=True)
    best_iou = ops.max(overlap * owned, axis=-1, keepdims=True)
    quality = score / ops.maximum(best_score, 1e-30) * best_iou
    return Assignment(
        boxes=ops.take_along_axis(truth[..., :4], owner[..., None], axis=1),
        classes=ops.matmul(ops.swapaxes(quality, 1, 2), classes),
    )


def _candidates(truth, centres: np.ndarray):
    """(B, M, A), 1 where the place lies in the object's box."""
    least = centres[:, 2].min() / 2.0
    x, y = (ops.convert_to_tensor(centres[:, axis]) for axis in (0, 1))
    x0, y0, x1, y1, index = (truth[..., axis, None] for axis in range(5))
    inside_x = ops.abs(2.0 * x - x0 - x1) <= 2.0 * ops.maximum((x1 - x0) / 2.0, least)
    inside_y = ops.abs(2.0 * y - y0 - y1) <= 2.0 * ops.maximum((y1 - y0) / 2.0, least)
    inside = ops.logical_and(ops.logical_and(inside_x, inside_y), index >= 0)
    return ops.cast(inside, "float32")

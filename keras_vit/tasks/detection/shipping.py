"""What exported detectors give, and how two of them are compared: boxes (A, 4) and scores (A, C) side by side."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from keras_vit.tasks.detection.suppression import Detections
from keras_vit.tasks.shipping import SMALLEST


def suppressed(
    outputs: dict[str, tf.Tensor], *, score_threshold: float, iou_threshold: float, max_detections: int
) -> dict[str, tf.Tensor]:
    """Detections from a file's outputs, by non-maximum suppression in each class.

    Args:
        outputs: `boxes` (B, A, 4) and `scores` (B, A, C).
        score_threshold, iou_threshold, max_detections: see `detect`.

    Returns:
        `boxes` (B, most, 4) in pixels of the input, `scores` (B, most), `classes` (B, most) int32, the surest first,
        and `count` (B,) int32, how many there are; the rest is zero.
    """
    boxes, scores, classes, count = tf.image.combined_non_max_suppression(
        outputs["boxes"][:, :, None],
        outputs["scores"],
        max_output_size_per_class=max_detections,
        max_total_size=max_detections,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        clip_boxes=False,
    )
    return {"boxes": boxes, "scores": scores, "classes": tf.cast(classes, tf.int32), "count": count}


def logits(scores: np.ndarray) -> np.ndarray:
    """What scores are the sigmoid of."""
    scores = np.clip(scores, SMALLEST, 1 - SMALLEST)
    return np.log(scores / (1 - scores))


def in_common(wanted: Detections, found: Detections, iou: float) -> tuple[int, int]:
    """How many detections are also among others, with the same class and an IoU of at least so much; of how many."""
    overlaps = _overlaps(wanted.boxes[:, None], found.boxes[None])
    alike = (overlaps >= iou) & (wanted.classes[:, None] == found.classes[None])
    return int(alike.any(axis=1).sum()), len(wanted)


def divergence(output: np.ndarray, source: np.ndarray) -> float:
    """How far one file's boxes and scores are from another's, for each object that the other is sure of.

    The sum over all places of KL(source || output) of every class's score, in nats, and of the best score times what
    the boxes do not share (1 - IoU); divided by the sum of the best scores, at least 1.

    Args:
        output: (A, 4 + C).
        source: likewise.
    """
    p, q = (np.clip(np.asarray(each[:, 4:], "float64"), SMALLEST, 1 - SMALLEST) for each in (source, output))
    scores = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum()
    best = source[:, 4:].max(-1)
    boxes = (best * (1 - _overlaps(source[:, :4], output[:, :4]))).sum()
    return float((scores + boxes) / max(best.sum(), 1.0))


def _overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """IoU of boxes that broadcast against each other; boxes without area overlap with none."""
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    shared = np.maximum(sides, 0).prod(-1)
    areas = [np.maximum(each[..., 2:] - each[..., :2], 0).prod(-1) for each in (one, other)]
    return shared / np.maximum(areas[0] + areas[1] - shared, 1e-9)

"""How much boxes overlap, in `keras.ops`: on every backend, with gradients. Boxes are (..., 4): x0, y0, x1, y1."""

from __future__ import annotations

import math

from keras import ops

EPSILON = 1e-7
"""Pixels, or square pixels: keeps a box without area from dividing by zero."""


def area(boxes):
    """(..., 4) -> (...). A box that is turned inside out has none."""
    x0, y0, x1, y1 = _edges(boxes)
    return ops.maximum(x1 - x0, 0.0) * ops.maximum(y1 - y0, 0.0)


def iou(one, other):
    """Intersection over union, 0..1, of boxes that broadcast against each other: (..., 4), (..., 4) -> (...)."""
    return _iou_and_union(one, other)[0]


def giou(one, other):
    """Generalised IoU, -1..1: also tells how far apart boxes are that do not touch (Rezatofighi et al., 2019).

    Args:
        one: (..., 4).
        other: (..., 4), broadcast against the first.
    """
    overlap, union = _iou_and_union(one, other)
    width, height = _hull(one, other)
    hull = width * height
    return overlap - (hull - union) / (hull + EPSILON)


def ciou(one, other):
    """Complete IoU: minus the distance of the centres and the difference of the shapes (Zheng et al., 2020).

    Args:
        one: (..., 4), the prediction: the weight of the shape term takes no gradient.
        other: (..., 4), broadcast against the first.
    """
    overlap = iou(one, other)
    width, height = _hull(one, other)
    ax0, ay0, ax1, ay1 = _edges(one)
    bx0, by0, bx1, by1 = _edges(other)
    apart = (ops.square(ax0 + ax1 - bx0 - bx1) + ops.square(ay0 + ay1 - by0 - by1)) / 4.0
    diagonal = ops.square(width) + ops.square(height) + EPSILON
    slopes = [
        ops.arctan(ops.maximum(x1 - x0, 0.0) / (ops.maximum(y1 - y0, 0.0) + EPSILON))
        for x0, y0, x1, y1 in ((ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1))
    ]
    shape = ops.square(slopes[0] - slopes[1]) * (4.0 / math.pi**2)
    weight = ops.stop_gradient(shape / (1.0 - overlap + shape + EPSILON))
    return overlap - apart / diagonal - weight * shape


OVERLAPS = {"giou": giou, "ciou": ciou}
"""What a box loss may maximise."""


def _edges(boxes):
    return boxes[..., 0], boxes[..., 1], boxes[..., 2], boxes[..., 3]


def _iou_and_union(one, other):
    ax0, ay0, ax1, ay1 = _edges(one)
    bx0, by0, bx1, by1 = _edges(other)
    width = ops.maximum(ops.minimum(ax1, bx1) - ops.maximum(ax0, bx0), 0.0)
    height = ops.maximum(ops.minimum(ay1, by1) - ops.maximum(ay0, by0), 0.0)
    shared = width * height
    union = area(one) + area(other) - shared
    return shared / (union + EPSILON), union


def _hull(one, other):
    """Width and height of the smallest box around both."""
    ax0, ay0, ax1, ay1 = _edges(one)
    bx0, by0, bx1, by1 = _edges(other)
    return ops.maximum(ax1, bx1) - ops.minimum(ax0, bx0), ops.maximum(ay1, by1) - ops.minimum(ay0, by0)

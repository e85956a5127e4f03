"""Metrics of segmentation, streamed and exact: everything follows from counts of pixels."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import ops


def intersection_over_union(counts):
    """IoU of each class, NaN for one that is neither in the truth nor predicted.

    Args:
        counts: (C, C) pixels, truth by prediction.
    """
    counts = np.asarray(counts, "float64")
    right = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - right
    return np.divide(right, union, out=np.full(len(counts), np.nan), where=union > 0)


def mean_iou(counts) -> float:
    """Mean over the classes that are in the truth or predicted; 0 where there is no pixel."""
    found = intersection_over_union(counts)
    return float(np.nanmean(found)) if np.isfinite(found).any() else 0.0


def pixel_accuracy(counts) -> float:
    """Share of the pixels that are right; 0 where there is none."""
    counts = np.asarray(counts, "float64")
    return float(np.trace(counts) / max(counts.sum(), 1.0))


def count_pixels(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """(C, C) int64 pixels, truth by prediction; where the truth is no class, nothing is counted."""
    counted = (truth >= 0) & (truth < num_classes)
    pairs = truth[counted].astype("int64") * num_classes + predicted[counted]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def _streamed_iou(counts):
    right = ops.diagonal(counts)
    union = ops.sum(counts, axis=0) + ops.sum(counts, axis=1) - right
    found = ops.cast(union > 0, counts.dtype)
    return ops.sum(right / ops.maximum(union, 1.0)) / ops.maximum(ops.sum(found), 1.0)


def _streamed_accuracy(counts):
    return ops.sum(ops.diagonal(counts)) / ops.maximum(ops.sum(counts), 1.0)


FIGURES: dict[str, Callable] = {"miou": _streamed_iou, "pixel_accuracy": _streamed_accuracy}
"""What can be streamed: name -> function of float32 counts, in `keras.ops`."""


@keras.saving.register_keras_serializable(package="keras_vit")
class PixelCounts(keras.metrics.Metric):
    """A figure of the (C, C) counts of pixels, truth by prediction.

    Counts are whole numbers that are added up over batches and devices: the figure at the end of an epoch is that of
    all pixels at once, not a mean over batches.

    Args:
        num_classes: C.
        figure: a key of `FIGURES`; the metric's name by default.

    Shapes: int (B, H, W) classes, below 0 for none; logits (B, H, W, C).
    """

    def __init__(self, num_classes: int, figure: str = "miou", name: str | None = None, **kwargs):
        super().__init__(name=name or figure, **kwargs)
        self.num_classes = num_classes
        self.figure = figure
        # float32 stops counting at 2^24 pixels.
        dtype = "int64" if keras.backend.backend() == "tensorflow" else "int32"
        self.counts = self.add_variable(
            (num_classes, num_classes), initializer="zeros", dtype=dtype, aggregation="sum", name="counts"
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts the pixels of a batch.

        Raises:
            ValueError: sample weights were given.
        """
        if sample_weight is not None:
            raise ValueError("Pixels are counted, not weighed: leave sample_weight out.")
        classes = self.num_classes
        truth = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        predicted = ops.reshape(ops.cast(ops.argmax(y_pred, axis=-1), "int32"), (-1,))
        # Pixels of no class are counted in a place of their own, which is then dropped.
        known = ops.logical_and(truth >= 0, truth < classes)
        places = ops.where(known, truth * classes + predicted, classes * classes)
        counts = ops.bincount(places, minlength=classes * classes + 1)[: classes * classes]
        self.counts.assign_add(ops.cast(ops.reshape(counts, (classes, classes)), self.counts.dtype))

    def result(self):
        """The figure of all that was counted."""
        return FIGURES[self.figure](ops.cast(self.counts, "float32"))

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes, "figure": self.figure}

"""From a detector's outputs to detections: class-wise non-maximum suppression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_vit.errors import InputError

SCORE_THRESHOLD = 0.01
"""Low, for average precision counts what is found at any score; pictures show far fewer."""
IOU_THRESHOLD = 0.5
MAX_DETECTIONS = 100
"""As many as COCO looks at."""


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found in one image, the surest first.

    Attributes:
        boxes: (k, 4) float32: x0, y0, x1, y1 in pixels.
        scores: (k,) float32, 0..1.
        classes: (k,) int64.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score: float) -> Detections:
        """Those with at least this score."""
        kept = self.scores >= score
        return Detections(self.boxes[kept], self.scores[kept], self.classes[kept])


def detect(
    outputs,
    *,
    score_threshold: float = SCORE_THRESHOLD,
    iou_threshold: float = IOU_THRESHOLD,
    max_detections: int = MAX_DETECTIONS,
) -> list[Detections]:
    """Detections of a batch, by `tf.image.combined_non_max_suppression`.

    A place may be detected as several classes; boxes suppress only boxes of their class.

    Args:
        outputs: (B, A, 4 + C): boxes in pixels, then logits.
        score_threshold: what is not above is nothing.
        iou_threshold: boxes that overlap a surer one of their class by more are the same object.
        max_detections: an image at most.

    Raises:
        InputError: outputs of another shape, or a threshold outside 0..1.
    """
    import tensorflow as tf

    _check(np.shape(outputs), score_threshold, iou_threshold, max_detections)
    outputs = tf.cast(tf.convert_to_tensor(outputs), tf.float32)
    found = tf.image.combined_non_max_suppression(
        outputs[:, :, None, :4],
        tf.sigmoid(outputs[..., 4:]),
        max_output_size_per_class=max_detections,
        max_total_size=max_detections,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        clip_boxes=False,
    )
    boxes, scores, classes, counts = (np.asarray(part) for part in found)
    return [
        Detections(boxes[i, :count], scores[i, :count], classes[i, :count].astype(np.int64))
        for i, count in enumerate(counts)
    ]


def _check(shape: tuple[int, ...], score_threshold: float, iou_threshold: float, max_detections: int) -> None:
    if len(shape) != 3 or shape[-1] < 5:
        raise InputError(f"A detector's outputs are (images, places, 4 + classes), not {tuple(shape)}.")
    for label, value in (("score_threshold", score_threshold), ("iou_threshold", iou_threshold)):
        if not 0 <= value <= 1:
            raise InputError(f"{label} is from 0 to 1, not {value}.")
    if not isinstance(max_detections, int) or max_detections < 1:
        raise InputError(f"max_detections is a whole number from 1, not {max_detections!r}.")

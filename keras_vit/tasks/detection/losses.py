"""The loss of a detector."""

from __future__ import annotations

import keras
from keras import ops

from keras_vit.errors import InputError, suggest
from keras_vit.layers.box_decoding import place_centres
from keras_vit.tasks.detection.assignment import task_aligned
from keras_vit.tasks.detection.boxes import OVERLAPS


@keras.saving.register_keras_serializable(package="keras_vit")
class DetectionLoss(keras.losses.Loss):
    """Quality focal loss of the classes (Li et al., 2020) plus an IoU loss of the boxes, on task-aligned targets.

    Every image's sum is divided by the quality of its own targets, at least 1, as RetinaNet divides by its anchors.
    So an image's loss depends on no other image, and the mean over the batch, which is what Keras takes, is the same
    on one device and on many. An image without objects teaches what is background.

    Args:
        image_size: (H, W) of the model's input in pixels.
        num_classes: C.
        strides: of the head.
        box_weight: of the boxes' part beside the classes'.
        box_loss: what the boxes' part maximises, a key of `OVERLAPS`.
        focus: exponent of |target - probability|; 0 is plain cross-entropy.
        topk: places that learn one object, at most.

    Call: y_true (B, M, 5), boxes in pixels of the model's input and the class, -1 in unused rows; y_pred
    (B, A, 4 + C), boxes in pixels and logits; returns (B,). Computed in float32.

    Raises:
        InputError: an unknown `box_loss`, or predictions that do not fit the sizes.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        num_classes: int,
        strides: tuple[int, ...] = (8, 16, 32),
        box_weight: float = 2.0,
        box_loss: str = "giou",
        focus: float = 2.0,
        topk: int = 13,
        name: str = "detection_loss",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if box_loss not in OVERLAPS:
            raise InputError(f"There is no box_loss {box_loss!r}: {suggest(box_loss, OVERLAPS)}")
        self.image_size = tuple(image_size)
        self.num_classes = num_classes
        self.strides = tuple(strides)
        self.box_weight = box_weight
        self.box_loss = box_loss
        self.focus = focus
        self.topk = topk
        self._centres = place_centres(self.image_size, self.strides)

    def call(self, y_true, y_pred):
        """(B, M, 5), (B, A, 4 + C) -> (B,)."""
        if tuple(y_pred.shape[1:]) != (len(self._centres), 4 + self.num_classes):
            raise InputError(
                f"A detector of {self.num_classes} classes for images of {self.image_size} pixels gives "
                f"({len(self._centres)}, {4 + self.num_classes}) numbers an image, not {tuple(y_pred.shape[1:])}."
            )
        truth, outputs = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        boxes, logits = outputs[..., :4], outputs[..., 4:]
        probabilities = ops.sigmoid(logits)
        target = task_aligned(truth, boxes, probabilities, self._centres, topk=self.topk)
        entropy = ops.relu(logits) - logits * target.classes + ops.softplus(-ops.abs(logits))
        if self.focus:
            entropy = entropy * ops.abs(target.classes - probabilities) ** self.focus
        quality = ops.sum(target.classes, axis=-1)
        # Places of no object have a box of some other object, and no weight.
        misfit = quality * (1.0 - OVERLAPS[self.box_loss](boxes, target.boxes))
        total = ops.sum(entropy, axis=(1, 2)) + self.box_weight * ops.sum(misfit, axis=1)
        return total / ops.maximum(ops.sum(quality, axis=1), 1.0)

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        own = ("image_size", "num_classes", "strides", "box_weight", "box_loss", "focus", "topk")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}

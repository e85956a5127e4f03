"""What a segmentation model minimises: cross-entropy of places, with what helps rare and small classes beside it."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from keras_vit.data.masks import IGNORE


@keras.saving.register_keras_serializable(package="keras_vit")
class SegmentationLoss(keras.losses.Loss):
    """Cross-entropy per pixel and, added to it, Dice and Lovasz losses per class.

    Every part is computed image by image and then averaged over the images, so that a batch gives the same loss on one
    device and on many. Pixels of `IGNORE` count nowhere; an image of nothing else has a loss of 0.

    Args:
        class_weights: C factors of the pixels' cross-entropy by their class; None for 1.
        label_smoothing: mass spread over all classes.
        focal: the exponent gamma of `(1 - p)^gamma`, by which pixels that are right already count less (Lin et al.,
            2017); 0 for none.
        dice: weight of the soft Dice loss (Milletari et al., 2016), averaged over the classes in an image.
        lovasz: weight of the Lovasz-Softmax loss (Berman et al., 2018), likewise.

    Shapes: int (B, H, W) classes or `IGNORE`, logits (B, H, W, C) -> (B,).
    """

    def __init__(
        self,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        focal: float = 0.0,
        dice: float = 0.0,
        lovasz: float = 0.0,
        name: str = "segmentation_loss",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.class_weights = None if class_weights is None else tuple(float(weight) for weight in class_weights)
        self.label_smoothing = label_smoothing
        self.focal = focal
        self.dice = dice
        self.lovasz = lovasz

    def get_config(self) -> dict:
        """The constructor's arguments."""
        own = ("class_weights", "label_smoothing", "focal", "dice", "lovasz")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}

    def call(self, y_true, y_pred):
        """(B,)"""
        classes = y_pred.shape[-1]
        # Keras hands targets over in the dtype of the predictions.
        truth = ops.reshape(ops.cast(y_true, "int32"), (-1, y_pred.shape[1] * y_pred.shape[2]))
        logits = ops.reshape(ops.cast(y_pred, "float32"), (-1, truth.shape[1], classes))
        valid = ops.cast(truth != IGNORE, "float32")
        # An index of -1 gives a row of zeros.
        truth = ops.one_hot(truth, classes, dtype="float32")
        loss = self._cross_entropy(truth, logits, valid)
        if self.dice or self.lovasz:
            shares = ops.softmax(logits) * valid[..., None]
            present = ops.cast(ops.any(truth > 0, axis=1), "float32")
            if self.dice:
                loss = loss + self.dice * _over_classes(dice_errors(truth, shares), present)
            if self.lovasz:
                loss = loss + self.lovasz * _over_classes(lovasz_errors(truth, shares), present)
        return loss

    def _cross_entropy(self, truth, logits, valid):
        logarithms = ops.log_softmax(logits)
        smooth = self.label_smoothing
        wanted = truth * (1.0 - smooth) + smooth / logits.shape[-1] if smooth else truth
        errors = -ops.sum(wanted * logarithms, axis=-1)
        if self.focal:
            right = ops.exp(ops.sum(truth * logarithms, axis=-1))
            errors = errors * (1.0 - right) ** self.focal
        if self.class_weights:
            errors = errors * ops.sum(truth * ops.convert_to_tensor(self.class_weights, "float32"), axis=-1)
        return ops.sum(errors * valid, axis=1) / ops.maximum(ops.sum(valid, axis=1), 1.0)


def dice_errors(truth, shares):
    """1 - soft Dice of each class, smoothed by one pixel: two (B, P, C) of P pixels -> (B, C)."""
    both = ops.sum(truth * shares, axis=1)
    return 1.0 - (2.0 * both + 1.0) / (ops.sum(truth, axis=1) + ops.sum(shares, axis=1) + 1.0)


def lovasz_errors(truth, shares):
    """The Lovasz extension of each class's 1 - IoU at the errors |truth - shares|: two (B, P, C) -> (B, C).

    With errors of 0 and 1 it is 1 - IoU itself. Pixels that count nowhere are zero in both: the errors of 0 that they
    add come last in the order and weigh nothing.
    """
    truth, shares = (ops.transpose(x, (0, 2, 1)) for x in (truth, shares))
    errors = ops.abs(truth - shares)
    order = ops.stop_gradient(ops.argsort(-errors, axis=-1))
    ranked = ops.take_along_axis(truth, order, axis=-1)
    total = ops.sum(truth, axis=-1, keepdims=True)
    left = total - ops.cumsum(ranked, axis=-1)
    union = total + ops.cumsum(1.0 - ranked, axis=-1)
    jaccard = 1.0 - left / union
    steps = ops.concatenate([jaccard[..., :1], jaccard[..., 1:] - jaccard[..., :-1]], axis=-1)
    return ops.sum(ops.take_along_axis(errors, order, axis=-1) * ops.stop_gradient(steps), axis=-1)


def _over_classes(errors, present):
    """The mean over the classes that an image has: (B, C) -> (B,)."""
    return ops.sum(errors * present, axis=-1) / ops.maximum(ops.sum(present, axis=-1), 1.0)

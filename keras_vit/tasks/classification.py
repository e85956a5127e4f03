"""The classification task: its loss, its metrics, and how its outputs are judged and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from keras_vit import evaluation


@dataclass(frozen=True)
class Classification:
    """One label an image.

    Outputs are logits (B, C); targets are one-hot or mixed (B, C).

    Attributes:
        class_names: C names.
    """

    class_names: tuple[str, ...]

    def loss(self, label_smoothing: float = 0.0) -> keras.losses.Loss:
        """Cross-entropy from logits."""
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)

    def metrics(self) -> list[keras.metrics.Metric]:
        """`top1`, and `top5` where there are more than five classes."""
        metrics = [keras.metrics.CategoricalAccuracy(name="top1")]
        if len(self.class_names) > 5:
            metrics.append(keras.metrics.TopKCategoricalAccuracy(k=5, name="top5"))
        return metrics

    def figures(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float | int]:
        """`top1 top5 loss ece n`, as fractions."""
        return evaluation.classification_figures(logits, labels, self.class_names)

    def draw(self, images: np.ndarray, logits: np.ndarray, labels: np.ndarray, columns: int = 6):
        """A matplotlib figure of images (n, H, W, channels) with what was predicted, and the truth where it differs."""
        titles, colours = evaluation.verdicts(logits, labels, self.class_names)
        return evaluation.contact_sheet(pixels(images), titles, columns=columns, colours=colours)

    def draw_targets(self, images: np.ndarray, targets: np.ndarray, columns: int = 6):
        """A matplotlib figure of training images (n, H, W, channels) with the labels (n, C) that mixing gave them."""
        return evaluation.contact_sheet(pixels(images), [self._share(row) for row in targets], columns=columns)

    def _share(self, target: Sequence[float]) -> str:
        parts = [(share, self.class_names[index]) for index, share in enumerate(target) if share > 0.01]
        if len(parts) == 1:
            return parts[0][1]
        return "\n".join(f"{name} {share:.0%}" for share, name in sorted(parts, reverse=True)[:2])


def pixels(images: np.ndarray) -> np.ndarray:
    """Float pixels 0..255 as uint8, for drawing."""
    return np.clip(np.rint(images), 0, 255).astype("uint8")

"""What travels from block to block of an export graph."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Tokens:
    """The tokens of a batch of images.

    Attributes:
        values: (B * count, D), so that every map of them is a plain matrix product.
        images: B, or -1 where it is not fixed.
        count: tokens of an image.
        sizes: (B, count, 1), how many patches each stands for; None where none were merged.
        origins: (B, count, N0), the share that each of the N0 first tokens has in them; None where it does not matter.
    """

    values: tf.Tensor
    images: int
    count: int
    sizes: tf.Tensor | None = None
    origins: tf.Tensor | None = None

    @property
    def width(self) -> int:
        """D."""
        return self.values.shape[-1]

    def unfolded(self, values: tf.Tensor | None = None) -> tf.Tensor:
        """(B, count, D) of these values, or of others in the same order."""
        values = self.values if values is None else values
        return tf.reshape(values, (self.images, self.count, values.shape[-1]))

    def first(self, number: int, values: tf.Tensor | None = None) -> tf.Tensor:
        """(B * number, D): the first tokens of every image, of these values or of others in the same order."""
        kept = self.unfolded(values)[:, :number]
        return tf.reshape(kept, (-1, kept.shape[-1]))

"""What a kind of label gives the pipelines: from decoded images to what a model takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import tensorflow as tf

from keras_vit.data.augment import Augment


class Views(Protocol):
    """Pairs of an image and its target, at evaluation and in training; made with (labels, preprocessing, num_classes).

    An image comes as (H, W, channels) uint8 and its place in the split as scalar int64; what is returned is the
    model's input (h, w, channels) float32 0..255, and the target.
    """

    def shown(self, image: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The evaluation view, as the preprocessing record says."""

    def learned(self, augment: Augment) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """The function of (image, index, seed (2,) integers) that gives a training view.

        Raises:
            InputError: a setting that makes no sense for these labels.
        """

    def part(self, augment: Augment) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]] | None:
        """The function of (height and width (2,) int32, seed) that gives the box (first row and column, height and
        width: (2,) int32 each) which alone `learned` is to be shown; None where it needs the whole image."""

    def mixed(self, augment: Augment) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple] | None:
        """The function of (images, targets, seed) that mixes a whole batch, or None."""

"""Random changes of colour, as pure functions of a seed."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# ITU-R 601's YIQ, in which a turn about the first axis changes the hue alone.
_TO_YIQ = np.array([_LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], np.float32)
_HUE = 1 / 20  # of the colour circle, at strength 1


def random_color(image: tf.Tensor, seed: tf.Tensor, strength: float) -> tf.Tensor:
    """Brightness, contrast, saturation and hue, each by its own draw, in this order.

    Brightness, contrast and saturation are torchvision's: blends with black, with the mean grey and with the grey
    image, by factors within 1 - strength .. 1 + strength. The hue turns in YIQ by up to strength / 20 of a circle.

    Args:
        image: (H, W, C) float32, 0..255, C 1 or 3; one channel keeps its saturation and hue, having none.
        seed: (2,) integers; the same seed gives the same image.
        strength: above 0, at most 1.

    Returns:
        (H, W, C) float32, 0..255.
    """
    draws = tf.random.stateless_uniform((4,), seed, -strength, strength)
    brightness, contrast, saturation = tf.unstack(1 + draws[:3])
    image = tf.clip_by_value(image * brightness, 0.0, 255.0)
    mean = tf.reduce_mean(_grey(image))
    image = tf.clip_by_value(mean + contrast * (image - mean), 0.0, 255.0)
    if image.shape[-1] == 1:
        return image
    grey = _grey(image)
    image = tf.clip_by_value(grey + saturation * (image - grey), 0.0, 255.0)
    return tf.clip_by_value(_turn_hue(image, draws[3] * (_HUE * 2 * math.pi)), 0.0, 255.0)


def _grey(image: tf.Tensor) -> tf.Tensor:
    """(H, W, 1) luma."""
    return image if image.shape[-1] == 1 else tf.reduce_sum(image * _LUMA, -1, keepdims=True)


def _turn_hue(image: tf.Tensor, angle: tf.Tensor) -> tf.Tensor:
    cos, sin = tf.cos(angle), tf.sin(angle)
    turn = tf.stack([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])
    matrix = np.linalg.inv(_TO_YIQ) @ turn @ _TO_YIQ
    return tf.einsum("hwc,dc->hwd", image, matrix)

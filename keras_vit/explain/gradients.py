"""Gradients of what is asked, and the methods that need little more: Grad-CAM and integrated gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from keras import ops

from keras_vit.backend import require_tensorflow
from keras_vit.errors import Failure
from keras_vit.explain.asked import Asked, mean_colour, positive

SCALES = (2.0**15, 2.0**10, 2.0**5, 1.0)
"""Of what is differentiated in float16, the largest with finite gradients first: small ones vanish otherwise."""


def gradients(asked: Asked, run: Callable[[Callable], tuple]) -> list[np.ndarray]:
    """Gradients of what is asked, sum(outputs * weights), in float32.

    Args:
        asked: the weights, and the model whose precision decides about the scaling.
        run: is given a function that watches a tensor, and returns the model's outputs and a list of the tensors whose
            gradients are wanted. They are watched, or come of what is.

    Returns:
        As many arrays as tensors; zero where the outputs do not depend on one.

    Raises:
        InputError: Keras does not run on TensorFlow.
        Failure: not even unscaled gradients are finite.
    """
    require_tensorflow("Explaining by gradients")
    import tensorflow as tf

    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        outputs, tensors = run(tape.watch)
    half = asked.replay.blocks[0].compute_dtype == "float16"
    for scale in SCALES if half else (1.0,):
        wanted = tf.cast(asked.weights * scale, outputs.dtype)
        found = tape.gradient(outputs, tensors, wanted, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        found = [as_float32(each) / np.float32(scale) for each in found]
        if all(np.isfinite(each).all() for each in found):
            return found
    raise Failure(
        f"The gradients of {asked.model.name!r} are not finite: look whether its outputs are, or build it in float32."
    )


def as_float32(tensor) -> np.ndarray:
    """A tensor of any precision as float32 in numpy."""
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


def gradcam(asked: Asked) -> np.ndarray:
    """Grad-CAM on tokens: (B, h, w).

    Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", 2017, with
    the patch tokens that enter the last block as the feature map: later ones do not reach a class token. A channel
    counts as much as the answer depends on it on average, and what channels say together for the answer is the map.
    """
    replay, found = asked.replay, []

    def run(watch):
        images = ops.convert_to_tensor(asked.images)
        watch(images)
        found.append(replay.play(images))
        return replay.head(found[0].leaving, training=False), [found[0].entering[-1]]

    (slopes,), (played,) = gradients(asked, run), found
    prefix = len(replay.prefix)
    # A token that stands for several patches has the gradients of all of them, and its value in each of their places.
    weights = slopes[:, prefix:].sum(1) / (replay.count - prefix)
    values = np.maximum(np.einsum("bnd,bd->bn", as_float32(played.entering[-1]), weights), 0)
    origins = played.origins[len(replay.blocks) - 1]
    if origins is not None:
        values = np.einsum("bn,bnm->bm", values, (as_float32(origins) > 0).astype("float32"))
    return asked.as_maps(values)


def integrated(asked: Asked, *, steps: int = 32) -> np.ndarray:
    """How much each pixel does to the answer, for or against it, its channels together: (B, H, W).

    Args:
        asked: images and what is explained.
        steps: see `attributions`.
    """
    return np.abs(attributions(asked, steps=steps).sum(-1))


def attributions(asked: Asked, *, steps: int = 32) -> np.ndarray:
    """What each pixel's channel adds to the answer, with its sign: (B, H, W, channels).

    Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", 2017: the gradient, averaged on the straight
    way from an image of nothing but the mean colour, times what the pixel differs from that. An image's attributions
    sum to what the answer differs, up to the error of the average.

    Args:
        asked: images and what is explained.
        steps: points on the way, each in the middle of its part.

    Raises:
        InputError: no positive number of steps.
    """
    positive("steps", steps)
    start = np.broadcast_to(mean_colour(asked.model), asked.images.shape)
    way, total = asked.images - start, np.zeros_like(asked.images)
    for step in range(steps):
        total += _slope(asked, start + np.float32((step + 0.5) / steps) * way)
    return way * total / steps


def _slope(asked: Asked, images: np.ndarray) -> np.ndarray:
    """The gradient with respect to pixels, at other images of the same number."""

    def run(watch):
        pixels = ops.convert_to_tensor(images)
        watch(pixels)
        return asked.model(pixels, training=False), [pixels]

    return gradients(asked, run)[0]

"""RandAugment with keras-cv's operations and distributions, as pure functions of a seed.

keras-cv's `RandAugment` layer takes its randomness from TensorFlow's global generators, whose state parallel calls race
for, and spends its time in general operations: a projective warp where an image only slides along one axis, histograms
channel by channel. These are the same operations, written for one image and for what they do.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

_RATE = 10 / 11  # the paper's eleventh operation is "leave as it is"
_SPREAD = 0.15  # keras-cv's default standard deviation of the magnitude
_ADDED = 110.0  # keras-cv's most for solarize-add: more would leave nearly nothing of the image


class RandAugment:
    """Applies operations chosen at random per image (Cubuk et al., arXiv:1909.13719).

    Args:
        operations: how many are applied to each image, one after the other.
        magnitude: strength 0..1, keras-cv's scale.
        channels: 3, or 1 for grey images, which leave the colour operation out.
    """

    def __init__(self, operations: int, magnitude: float, channels: int):
        self.count = operations
        # XLA makes one pass over the pixels of what are up to twenty: 0.1 to 0.3 ms instead of 0.4 to 1. It counts a
        # histogram slowly: `equalize` is left out.
        compiled = [tf.function(op, jit_compile=True) for op in _operations(magnitude, channels)]
        self.operations = [*compiled, lambda image, *draws: equalize(image)]

    def __call__(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Augments one image.

        Args:
            image: (H, W, C) float32, 0..255, of static shape.
            seed: (2,) integers; the same seed gives the same image.

        Returns:
            (H, W, C) float32, 0..255.
        """
        choose, draw = tf.unstack(tf.random.split(seed, 2))
        # One past the last operation is switch_case's last branch: the identity.
        last = len(self.operations)
        chances = tf.random.stateless_uniform((self.count,), choose, 0, last / _RATE)
        choices = tf.minimum(tf.cast(chances, tf.int32), last)
        # What an operation draws: how strong (twice, one for the sign or a uniform value instead) per operation.
        normal = tf.random.stateless_normal((self.count, 2), draw)
        uniform = tf.random.stateless_uniform((self.count,), tf.random.fold_in(draw, 1), -1.0, 1.0)
        for step in range(self.count):
            draws = normal[step], uniform[step]
            branches = [lambda op=op, image=image, draws=draws: op(image, *draws) for op in self.operations]
            branches.append(lambda image=image: image)
            image = tf.ensure_shape(tf.switch_case(choices[step], branches), image.shape)
        return image


def _operations(magnitude: float, channels: int) -> list[Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]]:
    """keras-cv's standard policy but for `equalize`: functions of (image (H, W, C), two standard normal draws, one
    uniform in -1..1)."""

    def strength(normal):
        return tf.clip_by_value(magnitude + _SPREAD * normal, 0.0, 1.0)

    def signed(normal, uniform):
        return strength(normal[0]) * tf.sign(uniform)

    operations = [
        lambda image, normal, uniform: auto_contrast(image),
        lambda image, normal, uniform: solarize(image, _ADDED * strength(normal[0]), 255 * (1 - strength(normal[1]))),
        lambda image, normal, uniform: contrast(image, 1 + magnitude * uniform),
        lambda image, normal, uniform: tf.clip_by_value(image + 255 * magnitude * uniform, 0.0, 255.0),
        lambda image, normal, uniform: shear(image, 1, signed(normal, uniform)),
        lambda image, normal, uniform: shear(image, 0, signed(normal, uniform)),
        lambda image, normal, uniform: translate(image, 1, magnitude * uniform),
        lambda image, normal, uniform: translate(image, 0, magnitude * uniform),
    ]
    if channels == 3:
        operations.append(lambda image, normal, uniform: fade(image, strength(normal[0])))
    return operations


def auto_contrast(image: tf.Tensor) -> tf.Tensor:
    """Stretches each channel to 0..255; a channel of one value stays."""
    # Over whole rows first, which are long enough for vectors.
    low, high = (reduce(reduce(image, 0), 0) for reduce in (tf.reduce_min, tf.reduce_max))
    flat = high <= low
    scale = tf.where(flat, 1.0, 255.0 / tf.where(flat, 1.0, high - low))
    return tf.clip_by_value(image * scale - tf.where(flat, 0.0, low * scale), 0.0, 255.0)


def equalize(image: tf.Tensor) -> tf.Tensor:
    """Evens out each channel's histogram of whole values, as Pillow's `ImageOps.equalize` does."""
    channels = image.shape[-1]
    bins = tf.cast(image, tf.int32) + 256 * tf.range(channels)
    size = 256 * channels
    # `tf.math.bincount` would go over the pixels twice more, to check what is known here.
    counts = tf.raw_ops.DenseBincount(input=tf.reshape(bins, [-1]), size=size, weights=tf.constant([], tf.int32))
    counts = tf.reshape(counts, (channels, 256))
    total = tf.reduce_sum(counts, 1, keepdims=True)
    rarest = tf.reduce_min(tf.where(counts == 0, total, counts), 1, keepdims=True)
    step = (total - rarest) // 255
    table = (tf.cumsum(counts, 1, exclusive=True) + step // 2) // tf.maximum(step, 1)
    table = tf.where(step == 0, tf.range(256), tf.clip_by_value(table, 0, 255))
    return tf.gather(tf.cast(tf.reshape(table, [-1]), tf.float32), bins)


def solarize(image: tf.Tensor, added: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Brightens by `added`, then inverts what is at `threshold` or above."""
    image = tf.clip_by_value(image + added, 0.0, 255.0)
    return tf.where(image < threshold, image, 255.0 - image)


def contrast(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Moves pixels from each channel's mean by `factor`."""
    mean = tf.reduce_mean(tf.reduce_mean(image, 0), 0)
    return tf.clip_by_value(image * factor + mean * (1 - factor), 0.0, 255.0)


def fade(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blends an RGB image with its own grey, of which `factor` is taken."""
    grey = tf.image.rgb_to_grayscale(image)
    return tf.clip_by_value(image + factor * (grey - image), 0.0, 255.0)


def shear(image: tf.Tensor, axis: int, factor: tf.Tensor) -> tf.Tensor:
    """Slides each row (axis 1) or column (axis 0) by `factor` times its place; pixels beyond the edge are mirrored."""
    return _slide(image, axis, factor * tf.range(image.shape[1 - axis], dtype=tf.float32))


def translate(image: tf.Tensor, axis: int, share: tf.Tensor) -> tf.Tensor:
    """Slides the image along an axis by a share of its length; pixels beyond the edge are mirrored."""
    return _slide(image, axis, tf.fill((image.shape[1 - axis],), -share * image.shape[axis]))


def _slide(image: tf.Tensor, axis: int, offsets: tf.Tensor) -> tf.Tensor:
    """Reads each line along `axis` from where its offset says, bilinearly: the warp of `ImageProjectiveTransform` with
    reflection, which takes three times as long because it may not assume that pixels stay in their row or column."""
    height, width, channels = image.shape
    lines = tf.range(image.shape[1 - axis])
    places = tf.range(image.shape[axis])
    whole = tf.floor(offsets)
    lines, places, whole_, rest = (
        (lines[:, None], places[None], tf.cast(whole, tf.int32)[:, None], (offsets - whole)[:, None, None])
        if axis == 1
        else (lines[None], places[:, None], tf.cast(whole, tf.int32)[None], (offsets - whole)[None, :, None])
    )
    pixels = tf.reshape(image, (height * width, channels))

    def read(shift):
        at = _reflected(places + whole_ + shift, image.shape[axis])
        return tf.gather(pixels, lines * width + at if axis == 1 else at * width + lines)

    near = read(0)
    return near + rest * (read(1) - near)


def _reflected(place: tf.Tensor, length: int) -> tf.Tensor:
    """Places beyond 0..length - 1, mirrored at the edges with the edge pixel repeated: d c b a | a b c d | d c b a."""
    place = tf.math.floormod(place, 2 * length)
    return tf.minimum(place, 2 * length - 1 - place)

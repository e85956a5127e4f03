"""MixUp and CutMix of a batch, as pure functions of a seed."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from keras_vit.data.augment import Augment


def batch_mixer(augment: Augment) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]] | None:
    """The function that mixes a batch, or None when neither MixUp nor CutMix is asked for.

    Returns:
        A function of (images (B, H, W, C) float32, one-hot labels (B, classes) float32, seed (2,) integers) that gives
        mixed images and labels; with both on, a fair coin decides for each batch, as in timm.
    """
    mixes = []
    if augment.mixup:
        mixes.append(lambda *batch: _mixup(*batch, augment.mixup))
    if augment.cutmix:
        mixes.append(lambda *batch: _cutmix(*batch, augment.cutmix))
    if not mixes:
        return None

    def mix(images, labels, seed):
        if len(mixes) == 1:
            return mixes[0](images, labels, seed)
        coin, draws = tf.unstack(tf.random.split(seed, 2))
        branches = [lambda one=one: one(images, labels, draws) for one in mixes]
        return tf.switch_case(tf.random.stateless_uniform((), coin, 0, len(mixes), tf.int32), branches)

    return mix


def _mixup(images, labels, seed, alpha: float):
    """Each image blended with another by a share of its own from Beta(alpha, alpha)."""
    order, share = tf.unstack(tf.random.split(seed, 2))
    size = tf.shape(images)[0]
    partner = tf.random.experimental.stateless_shuffle(tf.range(size), order)
    kept = _beta(size, share, alpha)
    return _blend(images, partner, kept[:, None, None, None]), _mixed(labels, partner, kept[:, None])


@tf.function(jit_compile=True)
def _blend(images, partner, kept):
    """In one pass: XLA needs a third of the time, as neither the partners nor the products are written down."""
    return images * kept + tf.gather(images, partner) * (1 - kept)


def _cutmix(images, labels, seed, alpha: float):
    """Each image with a rectangle of another, whose area is a share from Beta(alpha, alpha) before it is cut off at
    the edges."""
    order, share, place = tf.unstack(tf.random.split(seed, 3))
    size, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    partner = tf.random.experimental.stateless_shuffle(tf.range(size), order)
    side = tf.sqrt(1 - _beta(size, share, alpha))
    centre = tf.random.stateless_uniform((2, size), place)
    rows, columns = (_span(*axis, side) for axis in ((height, centre[0]), (width, centre[1])))
    inside = (rows[:, :, None] & columns[:, None, :])[..., None]
    kept = 1 - tf.reduce_mean(tf.cast(rows, tf.float32), 1) * tf.reduce_mean(tf.cast(columns, tf.float32), 1)
    return tf.where(inside, tf.gather(images, partner), images), _mixed(labels, partner, kept[:, None])


def _mixed(labels, partner, kept):
    return labels * kept + tf.gather(labels, partner) * (1 - kept)


def _span(length: int, centre: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """Which pixels of an axis a rectangle covers, (B, length) bool; centre and side (B,) are shares of the axis."""
    middle, half = tf.floor(centre * length), tf.floor(side * length) / 2
    places = tf.range(length, dtype=tf.float32)[None]
    return (places >= tf.floor(middle - half)[:, None]) & (places < tf.floor(middle + half)[:, None])


def _beta(size, seed, alpha: float) -> tf.Tensor:
    """(size,) draws from Beta(alpha, alpha)."""
    one, other = tf.unstack(tf.random.stateless_gamma((2, size), seed, alpha))
    # For a small alpha both may underflow to 0.
    total = one + other
    return tf.where(total > 0, one / tf.where(total > 0, total, 1.0), 0.5)

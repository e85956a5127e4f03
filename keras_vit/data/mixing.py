"""MixUp and CutMix of a batch, with Keras' own layers and draws from a given seed."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from keras_vit.data.augment import Augment


class StatelessSeeds(keras.random.SeedGenerator):
    """A Keras seed generator whose seeds follow from a given tensor instead of a counter variable.

    Handed to a layer's `get_random_transformation`, it makes the layer a pure function of that tensor.
    """

    def __init__(self, seed: tf.Tensor):
        # Deliberately not calling the base, which would create the variable that this class does without.
        self.seed = seed
        self.drawn = 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        """The next seed, (2,) int32."""
        self.drawn += 1
        return tf.cast(tf.random.fold_in(self.seed, self.drawn), tf.int32)


def batch_mixer(augment: Augment) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]] | None:
    """The function that mixes a batch, or None when neither MixUp nor CutMix is asked for.

    Returns:
        A function of (images (B, H, W, C) float32, one-hot labels (B, classes) float32, seed (2,) integers) that gives
        mixed images and labels; with both on, a fair coin decides for each batch, as in timm.
    """
    # Pixels stay in float32 whatever precision the model is trained in.
    layers = []
    if augment.mixup:
        layers.append(keras.layers.MixUp(augment.mixup, dtype="float32"))
    if augment.cutmix:
        # Keras draws alpha between the two factors, so two equal ones fix it.
        layers.append(keras.layers.CutMix((augment.cutmix, augment.cutmix), dtype="float32"))
    if not layers:
        return None

    def mix(images, labels, seed):
        coin, draws = tf.unstack(tf.random.split(seed, 2))
        branches = [lambda layer=layer: _apply(layer, images, labels, draws) for layer in layers]
        return tf.switch_case(tf.random.stateless_uniform((), coin, 0, len(layers), tf.int32), branches)

    return mix


def _apply(layer, images, labels, seed):
    batch = {"images": images, "labels": labels}
    transformation = layer.get_random_transformation(batch, training=True, seed=StatelessSeeds(seed))
    return layer.transform_images(images, transformation), layer.transform_labels(labels, transformation)

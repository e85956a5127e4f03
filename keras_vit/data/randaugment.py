"""RandAugment with keras-cv's operations and stateless draws.

keras-cv's `RandAugment` layer picks an operation per image and is ten times faster than Keras core's, but takes its
randomness from TensorFlow's global generators, whose state parallel calls race for. Its operations, though, are pure
functions `augment_images(images, transformations)`: here the same operations get transformations that are drawn from a
given seed, with keras-cv's own distributions.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

_RATE = 10 / 11  # the paper's eleventh operation is "leave as it is"
_SPREAD = 0.15  # keras-cv's default standard deviation of the magnitude
_RANGE = (0, 255)


class RandAugment:
    """Applies operations chosen at random per image (Cubuk et al., arXiv:1909.13719).

    Args:
        operations: how many are applied to each image, one after the other.
        magnitude: strength 0..1, keras-cv's scale.
        channels: 3, or 1 for grey images, which leave the colour operation out.
    """

    def __init__(self, operations: int, magnitude: float, channels: int):
        self.count = operations
        self.operations = _operations(magnitude, channels)

    def __call__(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Augments one image.

        Args:
            image: (H, W, C) float32, 0..255, of static shape.
            seed: (2,) integers; the same seed gives the same image.

        Returns:
            (H, W, C) float32, 0..255.
        """
        images = image[None]
        for step in tf.unstack(tf.random.split(seed, self.count)):
            images = self._apply_one(images, step)
        return images[0]

    def _apply_one(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        choose, skip, draw = tf.unstack(tf.random.split(seed, 3))
        choice = tf.random.stateless_uniform((), choose, 0, len(self.operations), tf.int32)
        # One past the last operation is switch_case's last branch: the identity.
        applied = tf.random.stateless_uniform((), skip) < _RATE
        branches = [lambda operation=operation: operation(images, draw) for operation in self.operations]
        branches.append(lambda: images)
        augmented = tf.switch_case(tf.where(applied, choice, len(self.operations)), branches)
        return tf.ensure_shape(augmented, images.shape)


def _operations(magnitude: float, channels: int) -> list[Callable[[tf.Tensor, tf.Tensor], tf.Tensor]]:
    """keras-cv's standard policy as functions of ((1, H, W, C) images, seed)."""
    from keras_cv import layers

    # Pixels stay in float32 whatever precision the model is trained in.
    fixed = {"dtype": "float32"}
    auto_contrast = layers.AutoContrast(_RANGE, **fixed)
    equalize = layers.Equalization(_RANGE, **fixed)
    solarize = layers.Solarization(_RANGE, **fixed)
    colour = layers.RandomColorDegeneration(1.0, **fixed)
    contrast = layers.RandomContrast(_RANGE, 1.0, **fixed)
    brightness = layers.RandomBrightness(1.0, _RANGE, **fixed)
    shear = layers.RandomShear(1.0, 1.0, **fixed)
    translation = layers.RandomTranslation(1.0, 1.0, **fixed)

    def strength(seed):
        return tf.clip_by_value(magnitude + _SPREAD * tf.random.stateless_normal((1, 1), seed), 0.0, 1.0)

    def signed(seed):
        size, sign = tf.unstack(tf.random.split(seed, 2))
        return strength(size) * tf.where(tf.random.stateless_uniform((1, 1), sign) > 0.5, -1.0, 1.0)

    def uniform(seed):
        return tf.random.stateless_uniform((1, 1), seed, -magnitude, magnitude)

    def per_image(value):
        return value[:, :, None, None]

    def solarized(images, seed):
        add, above = tf.unstack(tf.random.split(seed, 2))
        # Adding more than 110 would leave nearly nothing of the image (keras-cv's note).
        draws = {"additions": 110 * per_image(strength(add)), "thresholds": 255 * (1 - per_image(strength(above)))}
        return solarize.augment_images(images, draws)

    def moved(images, height, width):
        draws = {"height_translations": height, "width_translations": width}
        return translation.augment_images(images, draws)

    zero = tf.zeros((1, 1))
    operations = [
        lambda images, seed: auto_contrast.augment_images(images, None),
        lambda images, seed: equalize.augment_images(images, None),
        solarized,
        lambda images, seed: contrast.augment_images(images, 1 + per_image(uniform(seed))),
        lambda images, seed: brightness.augment_images(images, 255 * per_image(uniform(seed))),
        lambda images, seed: shear.augment_images(images, {"shear_x": signed(seed), "shear_y": None}),
        lambda images, seed: shear.augment_images(images, {"shear_x": None, "shear_y": signed(seed)}),
        lambda images, seed: moved(images, zero, uniform(seed)),
        lambda images, seed: moved(images, uniform(seed), zero),
    ]
    if channels == 3:
        operations.append(lambda images, seed: colour.augment_images(images, per_image(strength(seed))))
    return operations

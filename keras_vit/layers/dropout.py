"""Dropout whose mask follows from a seed that may be given, so that a block can be computed twice alike."""

from __future__ import annotations

import keras


class GivenSeed(keras.random.SeedGenerator):
    """A seed generator that always gives one seed, a tensor, instead of counting in a variable.

    Args:
        seed: (2,) integers.
    """

    def __init__(self, seed):
        # Deliberately not calling the base, which would create the variable that this class does without.
        self.seed = seed

    def next(self, ordered: bool = True):
        """The seed."""
        return self.seed


@keras.saving.register_keras_serializable(package="keras_vit")
class Dropout(keras.layers.Dropout):
    """Keras's dropout that can be told its seed.

    Shapes: any, unchanged.
    """

    def draw(self):
        """The seed of the next mask; None where nothing is dropped."""
        return self.seed_generator.next() if self.rate > 0 else None

    def call(self, inputs, training=False, seed=None):
        """(B, ...) -> (B, ...); without a seed it draws one."""
        if not training or self.rate == 0:
            return inputs
        return keras.random.dropout(
            inputs, self.rate, self.noise_shape, GivenSeed(self.draw() if seed is None else seed)
        )

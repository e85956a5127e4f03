"""Stochastic depth: a residual branch is left out at random, image by image, while training."""

from __future__ import annotations

import keras
from keras import ops

from keras_vit.layers.base import ViTLayer
from keras_vit.layers.dropout import GivenSeed


@keras.saving.register_keras_serializable(package="keras_vit")
class StochasticDepth(ViTLayer):
    """Drops the whole branch of an image with probability `rate` and scales the kept ones by 1 / (1 - rate).

    Huang et al., "Deep networks with stochastic depth", 2016, in the per-sample form that ViT training uses.

    Args:
        rate: 0 <= rate < 1.
        seed: of the masks.

    Shapes: any (B, ...), unchanged.

    Raises:
        ValueError: the rate is out of range.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"The rate of stochastic depth is at least 0 and below 1, not {rate}.")
        self.rate = rate
        self.seed = seed
        # A generator that is never used would still be a variable of every saved model.
        self.seed_generator = keras.random.SeedGenerator(seed) if rate > 0 else None
        self.built = True

    def draw(self):
        """The seed of the next mask; None where nothing is dropped."""
        return self.seed_generator.next() if self.seed_generator else None

    def call(self, branch, training=None, seed=None):
        """(B, ...) -> (B, ...); without a seed it draws one."""
        if not training or self.rate == 0:
            return branch
        shape = (ops.shape(branch)[0],) + (1,) * (len(branch.shape) - 1)
        kept = (
            keras.random.uniform(shape, dtype="float32", seed=GivenSeed(self.draw() if seed is None else seed))
            >= self.rate
        )
        return branch * ops.cast(kept, branch.dtype) / (1.0 - self.rate)

    def compute_output_shape(self, input_shape):
        """The shape does not change."""
        return input_shape

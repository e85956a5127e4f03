"""Stochastic depth: a residual branch is left out at random, image by image, while training."""

from __future__ import annotations

import keras
from keras import ops

from keras_vit.layers.base import ViTLayer


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

    def draw(self, batch):
        """The factors (B,) of the next branch, one an image, 0 or 1 / (1 - rate); None where nothing is dropped."""
        if not self.seed_generator:
            return None
        kept = keras.random.uniform((batch,), dtype="float32", seed=self.seed_generator) >= self.rate
        return ops.cast(kept, "float32") / (1.0 - self.rate)

    def call(self, branch, training=None, factors=None):
        """(B, ...) -> (B, ...); draws the factors (B,) that are not given."""
        if not training or self.rate == 0:
            return branch
        factors = self.draw(ops.shape(branch)[0]) if factors is None else factors
        return branch * ops.reshape(ops.cast(factors, branch.dtype), (-1,) + (1,) * (len(branch.shape) - 1))

    def compute_output_shape(self, input_shape):
        """The shape does not change."""
        return input_shape

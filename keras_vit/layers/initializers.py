"""How fresh weights are drawn, each kernel from a seed of its own."""

from __future__ import annotations

import math
import random

import keras
from keras import ops

from keras_vit.layers.dense import Dense


@keras.saving.register_keras_serializable(package="keras_vit")
class QuickTruncatedNormal(keras.initializers.Initializer):
    """Truncated normal with mean 0, cut at two standard deviations, drawn through the inverse of its distribution.

    One uniform draw and an inverse error function, as timm does it, take half the time of Keras's own rejection
    sampling, which is most of what building a large model costs.

    Args:
        stddev: of the normal distribution before it is cut.
        seed: of the draw; None takes Keras's global seed.
    """

    def __init__(self, stddev: float = 0.02, seed: int | None = None):
        self.stddev = stddev
        self.seed = seed

    def __call__(self, shape, dtype=None):
        """A tensor of this shape."""
        # As Keras's initializers do: `keras.utils.set_random_seed` also seeds Python's generator.
        seed = random.randrange(2**31) if self.seed is None else self.seed
        # P(|z| < 2) of a standard normal; erfinv of this range is within two standard deviations.
        bound = math.erf(math.sqrt(2.0))
        uniform = keras.random.uniform(shape, -bound, bound, dtype="float32", seed=seed)
        return ops.cast(ops.erfinv(uniform) * (self.stddev * math.sqrt(2.0)), dtype or keras.config.floatx())

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {"stddev": self.stddev, "seed": self.seed}


def child_seed(seed: int | None, index: int) -> int | None:
    """A different seed per index, so that kernels of one shape do not become copies of each other."""
    return None if seed is None else (seed * 1_000_003 + index * 7919 + 1) % 2**31


INITS = {
    "normal": lambda seed: QuickTruncatedNormal(0.02, seed),
    "xavier": lambda seed: keras.initializers.GlorotUniform(seed),
    "zeros": lambda seed: keras.initializers.Zeros(),
}
"""`normal`: truncated normal 0.02 (DeiT, timm, BERT). `xavier`: Glorot uniform (Google's ViT, MAE), whose scale
follows the width: narrow networks learn much faster with it. `zeros` costs next to nothing, for
weights that are loaded next."""


def kernel_initializer(init: str, seed: int | None) -> keras.initializers.Initializer:
    """The initializer of a kernel.

    Args:
        init: a key of `INITS`.
        seed: of the draw; None takes Keras's global seed.

    Raises:
        ValueError: an unknown key.
    """
    if init not in INITS:
        raise ValueError(f"init is one of {', '.join(INITS)}, not {init!r}.")
    return INITS[init](seed)


def dense(owner: keras.layers.Layer, name: str, units: int, index: int, use_bias: bool = True) -> Dense:
    """A dense sublayer in its owner's precision, initialised by the owner's `init` and `seed`.

    Args:
        owner: a layer with the attributes `init` and `seed`.
        name: of the sublayer.
        units: of the sublayer.
        index: different for every kernel of the owner.
        use_bias: whether it has a bias, zero at first.
    """
    initializer = kernel_initializer(owner.init, child_seed(owner.seed, index))
    return Dense(units, use_bias=use_bias, kernel_initializer=initializer, dtype=owner.dtype_policy, name=name)

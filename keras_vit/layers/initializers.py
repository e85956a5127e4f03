"""How fresh weights are drawn: truncated normal 0.02, each kernel from a seed of its own."""

from __future__ import annotations

import keras


def child_seed(seed: int | None, index: int) -> int | None:
    """A different seed per index, so that kernels of one shape do not become copies of each other."""
    return None if seed is None else (seed * 1_000_003 + index * 7919 + 1) % 2**31


def kernel_initializer(initialize: bool, seed: int | None) -> keras.initializers.Initializer:
    """Truncated normal with standard deviation 0.02 (ViT, DeiT), or zeros where loaded weights follow at once.

    Args:
        initialize: False leaves the kernel zero, which costs next to nothing, because weights are loaded next.
        seed: of the draw; None takes Keras's global seed.
    """
    if not initialize:
        return keras.initializers.Zeros()
    return keras.initializers.TruncatedNormal(stddev=0.02, seed=seed)


def dense(owner: keras.layers.Layer, name: str, units: int, index: int) -> keras.layers.Dense:
    """A dense sublayer in its owner's precision, initialised by the owner's `initialize` and `seed`.

    Args:
        owner: a layer with the attributes `initialize` and `seed`.
        name: of the sublayer.
        units: of the sublayer.
        index: different for every kernel of the owner.
    """
    initializer = kernel_initializer(owner.initialize, child_seed(owner.seed, index))
    return keras.layers.Dense(units, kernel_initializer=initializer, dtype=owner.dtype_policy, name=name)

"""How one array changes its layout between a checkpoint's convention and ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Layout:
    """A pair of functions: a checkpoint's array -> our variable, and back."""

    read: Callable[[np.ndarray], np.ndarray]
    write: Callable[[np.ndarray], np.ndarray]


SAME = Layout(lambda a: a, lambda a: a)
LINEAR = Layout(lambda a: a.T, lambda a: a.T)
"""PyTorch keeps a linear layer as (out, in), Keras as (in, out)."""
CONV = Layout(lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1))
"""PyTorch keeps a convolution as (out, in, h, w), Keras as (h, w, in, out)."""
BATCHED = Layout(lambda a: a[0], lambda a: a[None])
"""A leading axis of one that Keras does without."""

"""Pyramid pooling: what surrounds a place, at several scales, beside what is there."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_vit.layers.base import ViTLayer
from keras_vit.layers.convolution import ConvNorm, resized
from keras_vit.layers.initializers import child_seed


@keras.saving.register_keras_serializable(package="keras_vit")
class PyramidPooling(ViTLayer):
    """Means over coarse grids, beside the map that they are of (Zhao et al., "PSPNet", 2017).

    Args:
        width: channels of the output.
        bins: sides of the grids; cells of a side that they do not divide overlap.
        init: how kernels are drawn, a key of `INITS`.
        seed: of the initial kernels.

    Shapes: (B, h, w, D) -> (B, h, w, width).
    """

    def __init__(
        self, width: int, bins: Sequence[int] = (1, 2, 3, 6), init: str = "normal", seed: int | None = None, **kwargs
    ):
        super().__init__(**kwargs)
        self.width = width
        self.bins = tuple(bins)
        self.init = init
        self.seed = seed

    def build(self, input_shape):
        """Creates a projection for each grid, and the convolution."""
        batch, height, width, channels = input_shape
        share = max(self.width // len(self.bins), 1)
        fresh = {"init": self.init, "dtype": self.dtype_policy}
        self.projections = [
            ConvNorm(share, 1, seed=child_seed(self.seed, 1 + side), name=f"bin_{side}", **fresh) for side in self.bins
        ]
        for projection, side in zip(self.projections, self.bins, strict=True):
            projection.build((batch, side, side, channels))
        # (side * side, h * w): each cell of a grid as a mean of cells of the map.
        self.means = [np.kron(_bin_means(height, side), _bin_means(width, side)) for side in self.bins]
        self.merge = ConvNorm(self.width, seed=child_seed(self.seed, 0), name="merge", **fresh)
        self.merge.build((batch, height, width, channels + share * len(self.bins)))

    def call(self, maps):
        """(B, h, w, D) -> (B, h, w, width)."""
        height, width, channels = maps.shape[1:]
        cells = ops.reshape(maps, (-1, height * width, channels))
        found = [maps]
        for means, projection, side in zip(self.means, self.projections, self.bins, strict=True):
            pooled = ops.matmul(ops.cast(means, maps.dtype), cells)
            found.append(resized(projection(ops.reshape(pooled, (-1, side, side, channels))), (height, width)))
        return self.merge(ops.concatenate(found, axis=-1))

    def compute_output_shape(self, input_shape):
        """(B, h, w, D) -> (B, h, w, width)."""
        return (*input_shape[:-1], self.width)


def _bin_means(side: int, bins: int) -> np.ndarray:
    """(bins, side): bin i is the mean from floor(i side / bins) to ceil((i + 1) side / bins)."""
    cells = np.arange(side)
    inside = [(cells >= i * side // bins) & (cells < -(-(i + 1) * side // bins)) for i in range(bins)]
    return np.stack([each / each.sum() for each in inside]).astype("float32")

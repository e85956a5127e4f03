"""UPerNet: pyramid pooling, a top-down path, and all levels side by side."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from keras_vit.errors import InputError
from keras_vit.heads.dense import check_width, settings_of
from keras_vit.heads.given import Given
from keras_vit.heads.segmentation.base import spread_blocks
from keras_vit.heads.segmentation.pyramid import STRIDES, PyramidSegmentation, enlarged
from keras_vit.layers import ConvNorm
from keras_vit.layers.pyramid_pooling import PyramidPooling


@keras.saving.register_keras_serializable(package="keras_vit")
class UPerNet(PyramidSegmentation):
    """Xiao et al., "Unified perceptual parsing", 2018, on four blocks of the encoder as Bao et al. ("BEiT", 2022) do.

    Args:
        width: channels of every level.
        bins: sides of the grids that pyramid pooling averages over.
    """

    def __init__(self, width: int, bins: Sequence[int] = (1, 2, 3, 6), **kwargs):
        super().__init__(width, **kwargs)
        self.bins = tuple(bins)

    def build_merge(self, levels):
        """Creates the pooling, a convolution for each finer level, and the last one."""
        self.pooling = self.part(PyramidPooling, self.width, self.bins, index=1, name="pooling")
        self.pooling.build(levels[-1])
        self.smooth = [
            self.part(ConvNorm, self.width, index=3 + index, name=f"smooth_{index}") for index in range(len(levels) - 1)
        ]
        for smooth, shape in zip(self.smooth, levels, strict=False):
            smooth.build(shape)
        self.fuse = self.part(ConvNorm, self.width, index=2, name="fuse")
        self.fuse.build((*levels[0][:-1], len(levels) * self.width))

    def merge(self, levels):
        """List of (B, h_i, w_i, width) -> (B, h_0, w_0, width)."""
        *finer, coarsest = levels
        path = [self.pooling(coarsest)]
        for level in reversed(finer):
            path.insert(0, level + enlarged(path[0], level, 2))
        smooth = [layer(level) for layer, level in zip(self.smooth, path, strict=False)] + path[-1:]
        beside = [enlarged(level, path[0], s // STRIDES[0]) for level, s in zip(smooth, STRIDES, strict=True)]
        return self.fuse(ops.concatenate(beside, axis=-1))


def upernet_segmentation(given: Given, *, width: int = 64, bins: Sequence[int] = (1, 2, 3, 6)):
    """Logits (B, H, W, C) by UPerNet on four blocks, evenly spread over the depth.

    Args:
        given: what `build` gives.
        width: channels of every level.
        bins: sides of the grids that pyramid pooling averages over.

    Raises:
        InputError: a setting out of range, no classes, or merged tokens.
    """
    check_width("width", width)
    if not isinstance(bins, Sequence) or not bins:
        raise InputError(f"The head's bins are the sides of its grids, for instance (1, 2, 3, 6), not {bins!r}.")
    for side in bins:
        check_width("bins", side)
    return UPerNet(width, bins, **settings_of(given))(spread_blocks(given))

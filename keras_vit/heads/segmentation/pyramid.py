"""What heads over a feature pyramid share."""

from __future__ import annotations

import keras

from keras_vit.heads.segmentation.base import SegmentationHead
from keras_vit.layers import FeaturePyramid
from keras_vit.layers.convolution import resized

STRIDES = (4, 8, 16, 32)


class PyramidSegmentation(SegmentationHead):
    """The parent of heads whose first part is the simple feature pyramid (Li et al., "ViTDet", 2022).

    A child gives `merge`, from the pyramid's levels to a map of the finest level's size, and builds what it needs for
    that in `build_merge`. The tokens of several blocks, one for each level, are normalised first; those of the last
    block come normalised.

    Args:
        width: channels of every level.
    """

    def __init__(self, width: int, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def build(self, input_shape):
        """Creates the pyramid, what merges it and the classifier."""
        several = isinstance(input_shape[0], (list, tuple))
        shapes = list(input_shape) if several else [input_shape]
        self.norms = [
            keras.layers.LayerNormalization(epsilon=1e-6, dtype=self.dtype_policy, name=f"norm_{index}")
            for index in range(len(shapes) - 1)
        ]
        for norm, shape in zip(self.norms, shapes, strict=False):
            norm.build(shape)
        maps = [self.map_shape(shape) for shape in shapes]
        maps = maps if several else maps[0]
        self.pyramid = self.part(FeaturePyramid, self.patch_size, STRIDES, self.width, index=0, name="pyramid")
        self.pyramid.build(maps)
        levels = self.pyramid.compute_output_shape(maps)
        self.build_merge(levels)
        self.classify = self.classifier()
        self.classify.build(levels[0])

    def call(self, tokens):
        """(B, N, D), or four of them, -> (B, H, W, C)."""
        if isinstance(tokens, (list, tuple)):
            *earlier, last = tokens
            maps = [self.to_map(norm(each)) for norm, each in zip(self.norms, earlier, strict=True)]
            maps.append(self.to_map(last))
        else:
            maps = self.to_map(tokens)
        return self.at_image_size(self.classify(self.merge(self.pyramid(maps))), STRIDES[0])

    def build_merge(self, levels: list[tuple]) -> None:
        """Creates the child's layers for levels of these shapes."""
        raise NotImplementedError

    def merge(self, levels: list):
        """List of (B, h_i, w_i, width) -> (B, h_0, w_0, width)."""
        raise NotImplementedError


def enlarged(maps, finer, times: int):
    """A map, `times` as large and cut to the size of a finer one: a halved odd side was rounded up."""
    larger = resized(maps, [times * side for side in maps.shape[1:3]])
    return larger[:, : finer.shape[1], : finer.shape[2]]

"""SETR's progressive upsampling: convolutions, each followed by a doubling of the map's sides."""

from __future__ import annotations

import math

import keras

from keras_vit.heads.dense import check_width, settings_of
from keras_vit.heads.given import Given
from keras_vit.heads.segmentation.base import SegmentationHead
from keras_vit.layers import ConvNorm
from keras_vit.layers.convolution import resized


@keras.saving.register_keras_serializable(package="keras_vit")
class ProgressiveUpsampling(SegmentationHead):
    """Convolution and bilinear doubling in turn (Zheng et al., "SETR", 2021, SETR-PUP).

    From the patches to every second pixel; the classifier comes before the last doubling, with which it commutes.
    Normalised over channels, where SETR has batch normalisation.

    Args:
        width: channels.
    """

    def __init__(self, width: int = 64, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def build(self, input_shape):
        """Creates the convolutions and the classifier."""
        shape = self.map_shape(input_shape)
        self.steps = [
            self.part(ConvNorm, self.width, index=index, name=f"step_{index}")
            for index in range(max(round(math.log2(self.patch_size)), 1))
        ]
        for step in self.steps:
            step.build(shape)
            shape = step.compute_output_shape(shape)
        self.classify = self.classifier()
        self.classify.build(shape)

    def call(self, tokens):
        """(B, N, D) -> (B, H, W, C)."""
        maps, stride = self.steps[0](self.to_map(tokens)), self.patch_size
        for step in self.steps[1:]:
            maps, stride = step(resized(maps, [2 * side for side in maps.shape[1:3]])), stride / 2
        return self.at_image_size(self.classify(maps), stride)


def pup_segmentation(given: Given, *, width: int = 64):
    """Logits (B, H, W, C) by SETR's progressive upsampling.

    Args:
        given: what `build` gives.
        width: channels of the convolutions; SETR has 256, which cost more than a small encoder.

    Raises:
        InputError: a width out of range, no classes, or merged tokens.
    """
    check_width("width", width)
    return ProgressiveUpsampling(width, **settings_of(given))(given.encoded.tokens)

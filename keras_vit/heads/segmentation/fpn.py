"""The light feature pyramid network."""

from __future__ import annotations

import keras
from keras import ops

from keras_vit.heads.dense import check_width, settings_of
from keras_vit.heads.given import Given
from keras_vit.heads.segmentation.pyramid import STRIDES, PyramidSegmentation, enlarged
from keras_vit.layers import ConvNorm


@keras.saving.register_keras_serializable(package="keras_vit")
class FPNSegmentation(PyramidSegmentation):
    """All levels resized to the finest and added, then one convolution.

    The merge of Kirillov et al. ("Panoptic feature pyramid networks", 2019), lightened: each level has had its
    convolution in the pyramid.
    """

    def build_merge(self, levels):
        """Creates the convolution."""
        self.smooth = self.part(ConvNorm, self.width, index=1, name="smooth")
        self.smooth.build(levels[0])

    def merge(self, levels):
        """List of (B, h_i, w_i, width) -> (B, h_0, w_0, width)."""
        total = finest = levels[0]
        for level, stride in zip(levels[1:], STRIDES[1:], strict=True):
            total = total + enlarged(level, finest, stride // STRIDES[0])
        return self.smooth(ops.relu(total))


def fpn_segmentation(given: Given, *, width: int = 128):
    """Logits (B, H, W, C) by a light feature pyramid network on the last block's map.

    Args:
        given: what `build` gives.
        width: channels of the pyramid.

    Raises:
        InputError: a width out of range, no classes, or merged tokens.
    """
    check_width("width", width)
    return FPNSegmentation(width, **settings_of(given))(given.encoded.tokens)

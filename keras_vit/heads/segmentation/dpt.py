"""DPT: four blocks become maps of four sizes, and residual convolutions fuse them from coarse to fine."""

from __future__ import annotations

import keras
from keras import ops

from keras_vit.heads.dense import check_width, settings_of
from keras_vit.heads.given import Given
from keras_vit.heads.segmentation.base import spread_blocks
from keras_vit.heads.segmentation.pyramid import PyramidSegmentation, enlarged
from keras_vit.layers import ConvNorm
from keras_vit.layers.base import ViTLayer
from keras_vit.layers.convolution import convolution


@keras.saving.register_keras_serializable(package="keras_vit")
class DPTSegmentation(PyramidSegmentation):
    """Ranftl et al., "Vision transformers for dense prediction", 2021.

    The pyramid is its reassemble operation: project, resize, convolve. Layer normalisation stands where DPT has batch
    normalisation; class token and registers are left out ("ignore").
    """

    def build_merge(self, levels):
        """Creates a fusion for each level, and the last convolution."""
        self.fusions = [self._unit(f"fusion_{index}", 2 + index) for index in range(len(levels))]
        self.entries = [self._unit(f"entry_{index}", 6 + index) for index in range(len(levels) - 1)]
        for layers in (self.fusions, self.entries):
            for layer, shape in zip(layers, levels, strict=False):
                layer.build(shape)
        self.smooth = self.part(ConvNorm, self.width, index=1, name="smooth")
        self.smooth.build(levels[0])

    def _unit(self, name: str, index: int):
        return self.part(ResidualUnit, self.width, index=index, name=name)

    def merge(self, levels):
        """List of (B, h_i, w_i, width) -> (B, h_0, w_0, width)."""
        fused = self.fusions[-1](levels[-1])
        for index in reversed(range(len(levels) - 1)):
            level = levels[index]
            fused = self.fusions[index](self.entries[index](level) + enlarged(fused, level, 2))
        return self.smooth(fused)


@keras.saving.register_keras_serializable(package="keras_vit")
class ResidualUnit(ViTLayer):
    """ReLU, convolution, ReLU, convolution, added to what came in.

    Args:
        width: channels.
        init: how kernels are drawn, a key of `INITS`.
        seed: of the initial kernels.

    Shapes: (B, h, w, width) in and out.
    """

    def __init__(self, width: int, init: str = "normal", seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.init = init
        self.seed = seed

    def build(self, input_shape):
        """Creates both convolutions."""
        self.first = convolution(self, "first", self.width, 0, use_bias=True)
        self.second = convolution(self, "second", self.width, 1, use_bias=True)
        self.first.build(input_shape)
        self.second.build(input_shape)

    def call(self, maps):
        """(B, h, w, width) -> (B, h, w, width)."""
        return maps + self.second(ops.relu(self.first(ops.relu(maps))))

    def compute_output_shape(self, input_shape):
        """The shape does not change."""
        return input_shape


def dpt_segmentation(given: Given, *, width: int = 64):
    """Logits (B, H, W, C) by DPT's decoder on four blocks, evenly spread over the depth.

    Args:
        given: what `build` gives.
        width: channels of every level; DPT has 256.

    Raises:
        InputError: a width out of range, no classes, or merged tokens.
    """
    check_width("width", width)
    return DPTSegmentation(width, **settings_of(given))(spread_blocks(given))

"""What all segmentation heads share: from tokens to maps, and from logits of a map to logits of the image."""

from __future__ import annotations

import keras

from keras_vit.heads.dense import DenseHead
from keras_vit.heads.given import Given
from keras_vit.layers.convolution import resized
from keras_vit.layers.initializers import child_seed, kernel_initializer

LEVELS = 4
"""Blocks that heads of several maps read, evenly spread over the depth, and levels of a pyramid."""


class SegmentationHead(DenseHead):
    """Patch tokens in, logits of every pixel out; the parent of every segmentation head.

    A child makes a map of logits, `classifier` being its last layer, and hands it to `at_image_size`.

    Shapes: (B, prefix + h * w, D), or a list of such tokens, -> (B, H, W, C) float32.
    """

    def map_shape(self, input_shape) -> tuple:
        """(B, h, w, D) for the (B, N, D) of tokens."""
        return self.to_map.compute_output_shape(input_shape)

    def part(self, make, *arguments, index: int, name: str, **options):
        """A sublayer of this package in the head's precision, with a seed of its own."""
        fresh = {"init": self.init, "seed": child_seed(self.seed, index), "dtype": self.dtype_policy}
        return make(*arguments, **options, **fresh, name=name)

    def classifier(self) -> keras.layers.Dense:
        """One linear map of each cell's channels to float32 logits.

        Truncated normal 0.02 whatever `init` says: of few channels Xavier's logits would be too sure at the start.
        """
        initializer = kernel_initializer("zeros" if self.zero_head else "normal", child_seed(self.seed, -1))
        return keras.layers.Dense(self.num_classes, kernel_initializer=initializer, dtype="float32", name="classifier")

    def at_image_size(self, logits, stride: float):
        """(B, h', w', C) of cells `stride` pixels wide -> (B, H, W, C): resized bilinearly, then what padding added
        is cut off."""
        height, width = (round(side * stride) for side in logits.shape[1:3])
        return resized(logits, (height, width))[:, : self.image_size[0], : self.image_size[1]]

    def compute_output_shape(self, input_shape):
        """(B, H, W, C)."""
        first = input_shape[0] if isinstance(input_shape[0], (list, tuple)) else input_shape
        return (first[0], *self.image_size, self.num_classes)


def spread_blocks(given: Given) -> list:
    """Tokens of `LEVELS` blocks, evenly spread over the depth; the last ones are normalised by the encoder."""
    blocks = given.encoded.blocks
    chosen = [max(round(len(blocks) * (level + 1) / LEVELS) - 1, 0) for level in range(LEVELS - 1)]
    return [*(blocks[index] for index in chosen), given.encoded.tokens]

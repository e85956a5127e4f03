"""What every head is given."""

from __future__ import annotations

from dataclasses import dataclass

from keras_vit.encoder import Encoded
from keras_vit.layers.initializers import child_seed
from keras_vit.variants import Variant


@dataclass(frozen=True)
class Given:
    """What `build` hands to a head: the encoder's tokens and how the head shall be made.

    Attributes:
        encoded: the encoder's tokens, symbolic.
        variant: sizes and settings of the encoder.
        image_size: (H, W) pixels of the images; a dense head answers for these, without what padding added.
        num_classes: C; 0 for features, where the head has any.
        pooling: `token`, `avg` or `map`, for heads that pool.
        class_token: whether the first token is one.
        registers: number of learned tokens after it.
        norm_after_pooling: the head normalises the pooled features: the encoder left its tokens as they were.
        zero_head: start the last layer at zero.
        init: how kernels are drawn, a key of `INITS`.
        seed: of initial weights.
        dtype: Keras dtype policy; outputs are float32 in any case.
    """

    encoded: Encoded
    variant: Variant
    image_size: tuple[int, int]
    num_classes: int
    pooling: str
    class_token: bool
    registers: int
    norm_after_pooling: bool
    zero_head: bool
    init: str
    seed: int | None
    dtype: object

    def child_seed(self, index: int) -> int | None:
        """A seed of its own for each part of the head."""
        return child_seed(self.seed, index)

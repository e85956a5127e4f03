"""Segmenter's mask transformer: classes are tokens, and a mask is how alike patches and a class are."""

from __future__ import annotations

import keras
from keras import ops

from keras_vit.errors import InputError
from keras_vit.heads.dense import check_width, settings_of
from keras_vit.heads.given import Given
from keras_vit.heads.segmentation.base import SegmentationHead
from keras_vit.layers import EncoderBlock, PrefixTokens
from keras_vit.layers.initializers import child_seed, dense


@keras.saving.register_keras_serializable(package="keras_vit")
class MaskTransformer(SegmentationHead):
    """Class tokens join the patches for a few encoder blocks (Strudel et al., "Segmenter", 2021, section 3.2).

    Masks are the scalar products of the projected patches and classes, both of length one, normalised over the classes.

    Args:
        width: channels of the decoder.
        num_heads: attention heads; divides the width.
        blocks: number of encoder blocks.
        dropout: in the blocks.
        drop_path: stochastic depth of every block.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        blocks: int = 2,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.width = width
        self.num_heads = num_heads
        self.blocks = blocks
        self.dropout = dropout
        self.drop_path = drop_path

    def build(self, input_shape):
        """Creates the class tokens, the blocks and the projections."""
        batch, count, _ = input_shape
        self.enter = dense(self, "enter", self.width, 0)
        self.enter.build(input_shape)
        patches = count - self.prefix
        tokens = (batch, patches + self.num_classes, self.width)
        # Not all zero, even of one class: it would stay so.
        self.classes = PrefixTokens(
            self.num_classes, child_seed(self.seed, 1), dtype=self.dtype_policy, name="class_tokens"
        )
        self.classes.build((batch, patches, self.width))
        options = {"dropout": self.dropout, "drop_path": self.drop_path, "prefix": self.num_classes}
        self.decoder = [
            self.part(
                EncoderBlock, self.num_heads, 4 * self.width, **options, index=2 + index, name=f"decoder_block_{index}"
            )
            for index in range(self.blocks)
        ]
        for block in self.decoder:
            block.build(tokens)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, dtype=self.dtype_policy, name="norm")
        self.norm.build(tokens)
        self.project_patches = dense(self, "project_patches", self.width, -2, use_bias=False)
        self.project_classes = dense(self, "project_classes", self.width, -3, use_bias=False)
        self.project_patches.build(tokens)
        self.project_classes.build(tokens)
        gamma = "zeros" if self.zero_head else "ones"
        self.mask_norm = keras.layers.LayerNormalization(
            epsilon=1e-5, gamma_initializer=gamma, dtype="float32", name="mask_norm"
        )
        self.mask_norm.build((batch, patches, self.num_classes))

    def call(self, tokens, training=None):
        """(B, N, D) -> (B, H, W, C)."""
        tokens = self.classes(self.enter(tokens[:, self.prefix :]))
        for block in self.decoder:
            tokens = block(tokens, training=training)
        tokens = self.norm(tokens)
        patches = _unit(self.project_patches(tokens[:, self.num_classes :]))
        classes = _unit(self.project_classes(tokens[:, : self.num_classes]))
        masks = self.mask_norm(ops.matmul(patches, ops.transpose(classes, (0, 2, 1))))
        return self.at_image_size(ops.reshape(masks, (-1, *self.grid, self.num_classes)), self.patch_size)


def _unit(vectors):
    """Vectors of length one, in float32."""
    vectors = ops.cast(vectors, "float32")
    return vectors * ops.rsqrt(ops.sum(vectors * vectors, axis=-1, keepdims=True) + 1e-12)


def mask_segmentation(
    given: Given, *, width: int | None = None, blocks: int = 2, dropout: float = 0.0, drop_path: float = 0.0
):
    """Logits (B, H, W, C) by Segmenter's mask transformer.

    Args:
        given: its encoder's width and attention heads are the decoder's too.
        width: channels of the decoder, a multiple of the attention heads; the encoder's by default.
        blocks: number of encoder blocks of the decoder.
        dropout: in these blocks; Segmenter has 0.1.
        drop_path: stochastic depth of these blocks.

    Raises:
        InputError: a setting out of range, fewer than two classes, or merged tokens.
    """
    settings, size = settings_of(given), given.variant.size
    if given.num_classes < 2:
        raise InputError("The head 'mask' normalises over the classes and needs two or more: take another head.")
    width = size.width if width is None else width
    check_width("width", width, size.num_heads)
    check_width("blocks", blocks)
    for label, rate in (("dropout", dropout), ("drop_path", drop_path)):
        if not 0 <= rate < 1:
            raise InputError(f"The head's {label} is at least 0 and below 1, not {rate!r}.")
    head = MaskTransformer(width, size.num_heads, blocks, dropout, drop_path, **settings)
    return head(given.encoded.tokens)

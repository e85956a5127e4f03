"""The encoder of every model: normalised pixels in, tokens out, each step a named layer."""

from __future__ import annotations

import keras

from keras_vit.layers import ClassToken, EncoderBlock, PatchEmbedding, PositionEmbedding
from keras_vit.layers.initializers import child_seed
from keras_vit.variants import Variant


def encode(
    pixels,
    variant: Variant,
    *,
    class_token: bool,
    depth: int,
    drop_path: float = 0.0,
    dropout: float = 0.0,
    sincos: bool = False,
    init: str = "normal",
    seed: int | None = None,
    dtype=None,
):
    """Embeds patches and runs the transformer blocks (Dosovitskiy et al., 2021).

    Args:
        pixels: symbolic (B, H, W, channels), normalised; H and W are multiples of the patch size.
        variant: sizes and settings.
        class_token: whether a learned token stands before the patches.
        depth: number of blocks.
        drop_path: stochastic depth of the last block; it grows linearly from 0 in the first.
        dropout: after the position embedding, the attention projection and both MLP layers.
        sincos: start the positions from sines and cosines.
        init: how kernels are drawn, a key of `INITS`.
        seed: of initial weights and masks.
        dtype: Keras dtype policy.

    Returns:
        Symbolic tokens (B, N, D) after the last normalisation. Layers are called `patch_embedding`, `class_token`,
        `position_embedding`, `embedding_dropout`, `block_0` ..., `norm`.
    """
    size = variant.size
    fresh = {"init": init, "dtype": dtype}
    grid = tuple(side // variant.patch for side in pixels.shape[1:3])

    patches = PatchEmbedding(variant.patch, size.width, seed=child_seed(seed, 0), name="patch_embedding", **fresh)
    positions = PositionEmbedding(
        grid, int(class_token), sincos, seed=child_seed(seed, 1), name="position_embedding", **fresh
    )
    tokens = patches(pixels)
    if class_token:
        tokens = ClassToken(dtype=dtype, name="class_token")(tokens)
    tokens = positions(tokens)
    if dropout:
        tokens = keras.layers.Dropout(dropout, seed=child_seed(seed, 2), dtype=dtype, name="embedding_dropout")(tokens)
    for index in range(depth):
        tokens = EncoderBlock(
            size.num_heads,
            size.mlp_dim,
            dropout=dropout,
            drop_path=drop_path * index / max(depth - 1, 1),
            norm_epsilon=variant.family.norm_epsilon,
            seed=child_seed(seed, 3 + index),
            name=f"block_{index}",
            **fresh,
        )(tokens)
    return keras.layers.LayerNormalization(epsilon=variant.family.norm_epsilon, dtype=dtype, name="norm")(tokens)

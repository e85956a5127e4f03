"""The encoder of every model: normalised pixels in, tokens out, each step a named layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras

from keras_vit.errors import InputError
from keras_vit.layers import EncoderBlock, PatchEmbedding, PositionEmbedding, PrefixTokens
from keras_vit.layers.initializers import child_seed
from keras_vit.variants import Variant

EMBEDDING_LAYERS = ("patch_embedding", "registers", "class_token", "position_embedding", "patch_norm")
"""Layers before the first block that have weights."""


@dataclass(frozen=True)
class Encoded:
    """What an encoder gives to a head, all of it symbolic.

    Attributes:
        tokens: (B, N, D) of the last block, normalised unless the head does it after pooling.
        blocks: (B, N, D) of every block, as it leaves it; N shrinks where tokens are merged.
        sizes: (B, N, 1), how many patches each of the last tokens stands for; None where none were merged.
        grid: (h, w) of the patches.
        prefix: tokens before the patches: class token and registers.
    """

    tokens: keras.KerasTensor
    blocks: tuple[keras.KerasTensor, ...]
    sizes: keras.KerasTensor | None
    grid: tuple[int, int]
    prefix: int


def encode(
    pixels,
    variant: Variant,
    *,
    class_token: bool,
    registers: int,
    depth: int,
    merging: tuple[int, ...] = (),
    windows: tuple[tuple[int, int] | None, ...] = (),
    remat: bool = False,
    drop_path: float = 0.0,
    dropout: float = 0.0,
    norm: bool = True,
    sincos: bool = False,
    init: str = "normal",
    seed: int | None = None,
    dtype=None,
) -> Encoded:
    """Embeds patches and runs the transformer blocks (Dosovitskiy et al., 2021).

    Args:
        pixels: symbolic (B, H, W, channels), normalised; H and W are multiples of the patch size.
        variant: sizes and settings.
        class_token: whether a learned token stands before the registers and the patches.
        registers: number of learned tokens between the class token and the patches.
        depth: number of blocks.
        merging: patch tokens that each block merges, see `merging_schedule`; none if it is empty.
        windows: that patches of each block attend within, see `window_schedule`; everywhere if it is empty.
        remat: whether a training step computes each block's inside again for the gradient, to save memory.
        drop_path: stochastic depth of the last block; it grows linearly from 0 in the first.
        dropout: after the position embedding, the attention projection and both MLP layers.
        norm: normalise the last block's tokens; False where the head does it after pooling.
        sincos: start the positions from sines and cosines.
        init: how kernels are drawn, a key of `INITS`.
        seed: of initial weights and masks.
        dtype: Keras dtype policy.

    Returns:
        The tokens. Layers are called `patch_embedding`, `registers`, `class_token`,
        `position_embedding`, `embedding_dropout`, `patch_norm`, `block_0` ..., `norm`; those that the family does
        without are left out.
    """
    size, family = variant.size, variant.family
    fresh = {"init": init, "dtype": dtype}
    grid = tuple(side // variant.patch for side in pixels.shape[1:3])
    prefix = int(class_token) + registers

    def add_positions(tokens, covered: int):
        table = PositionEmbedding(grid, covered, sincos, seed=child_seed(seed, 1), name="position_embedding", **fresh)
        return table(tokens)

    tokens = PatchEmbedding(
        variant.patch, size.width, not family.patch_norm, seed=child_seed(seed, 0), name="patch_embedding", **fresh
    )(pixels)
    if family.positions == "patches":
        tokens = add_positions(tokens, 0)
    if registers:
        tokens = PrefixTokens(registers, child_seed(seed, -1), dtype=dtype, name="registers")(tokens)
    if class_token:
        tokens = PrefixTokens(dtype=dtype, name="class_token")(tokens)
    if family.positions == "tokens":
        tokens = add_positions(tokens, prefix)
    if dropout:
        tokens = keras.layers.Dropout(dropout, seed=child_seed(seed, 2), dtype=dtype, name="embedding_dropout")(tokens)
    if family.patch_norm:
        tokens = keras.layers.LayerNormalization(epsilon=family.norm_epsilon, dtype=dtype, name="patch_norm")(tokens)
    carried, blocks = (), []
    for index, (merged, window) in enumerate(zip(merging or (0,) * depth, windows or (None,) * depth, strict=True)):
        block = EncoderBlock(
            size.num_heads,
            size.mlp_dim,
            dropout=dropout,
            drop_path=drop_path * index / max(depth - 1, 1),
            norm_epsilon=family.norm_epsilon,
            activation=family.activation,
            gated=size.gated,
            mlp_norm=size.mlp_norm,
            layer_scale=family.layer_scale,
            qkv_bias=family.qkv_bias,
            rotary=family.rotary,
            relative_bias=family.relative_bias,
            grid=grid if family.rotary or family.relative_bias or window else None,
            prefix=prefix,
            seed=child_seed(seed, 3 + index),
            merged=merged,
            window=window,
            remat=remat,
            name=f"block_{index}",
            **fresh,
        )
        if merged:
            tokens, *carried = block(tokens, *carried)
        else:
            tokens = block(tokens, *carried)
        blocks.append(tokens)
    if norm:
        tokens = keras.layers.LayerNormalization(epsilon=family.norm_epsilon, dtype=dtype, name="norm")(tokens)
    return Encoded(tokens, tuple(blocks), carried[0] if carried else None, grid, prefix)


def merging_schedule(
    token_merging: int | Sequence[int] | Mapping[int, int] | None, depth: int, patches: int
) -> tuple[int, ...]:
    """How many patch tokens each block merges into others.

    Args:
        token_merging: one number for every block, as far as half of a block's patches allow; a number for each block;
            or block -> number for some, the first block being 0. None or 0 merges nothing.
        depth: number of blocks.
        patches: number of patch tokens of the first block.

    Returns:
        `depth` numbers; empty where nothing is merged.

    Raises:
        InputError: not in this form, or more than half of the patches that a block has left.
    """
    everywhere = isinstance(token_merging, int)
    counts = token_merging or 0
    if isinstance(counts, int):
        counts = [counts] * depth
    elif isinstance(counts, Mapping):
        unknown = [block for block in counts if block not in range(depth)]
        if unknown:
            raise InputError(f"token_merging names block {unknown[0]!r}: there are blocks 0 to {depth - 1}.")
        counts = [counts.get(block, 0) for block in range(depth)]
    right = isinstance(counts, Sequence) and len(counts) == depth
    if not right or not all(isinstance(count, int) and count >= 0 for count in counts):
        raise InputError(
            f"token_merging is a number of tokens for every block, a list of {depth} such numbers, or block: number "
            f"for some, not {token_merging!r}."
        )
    schedule = []
    for block, count in enumerate(counts):
        if count > patches // 2 and not everywhere:
            raise InputError(
                f"token_merging takes {count} tokens in block {block}, which has {patches} patches: at most half of "
                f"them, {patches // 2}, can be merged."
            )
        schedule.append(min(count, patches // 2))
        patches -= schedule[-1]
    return tuple(schedule) if any(schedule) else ()


def window_schedule(
    window: int | tuple[int, int] | None, global_blocks: Sequence[int] | None, depth: int, grid: tuple[int, int]
) -> tuple[tuple[int, int] | None, ...]:
    """The window that patches of each block attend within (ViTDet, Li et al., 2022).

    Args:
        window: its side in patches, or (rows, columns); None for no windows.
        global_blocks: the blocks that attend everywhere, the first being 0, the last also -1; None for four of them,
            evenly spread, the last block among them.
        depth: number of blocks.
        grid: (h, w) of the patches. A window that covers it is no window.

    Returns:
        `depth` windows (rows, columns), or None for those that attend everywhere; empty where all do.

    Raises:
        InputError: not in this form, no such block, or global blocks without a window.
    """
    if window is None:
        if global_blocks is not None:
            raise InputError("global_blocks are those that attend everywhere among blocks with windows: give window.")
        return ()
    sides = (window, window) if isinstance(window, int) else window
    right = isinstance(sides, Sequence) and len(sides) == 2
    if not right or not all(isinstance(side, int) and side > 0 for side in sides):
        raise InputError(f"window is a number of patches or (rows, columns), not {window!r}.")
    if global_blocks is None:
        global_blocks = [-(-depth * quarter // 4) - 1 for quarter in (1, 2, 3, 4)]
    if not isinstance(global_blocks, Sequence):
        raise InputError(f"global_blocks is a list of block numbers, for instance [5, -1], not {global_blocks!r}.")
    for block in global_blocks:
        if not isinstance(block, int) or not -depth <= block < depth:
            raise InputError(f"global_blocks names block {block!r}: there are blocks 0 to {depth - 1}.")
    everywhere = {block % depth for block in global_blocks}
    sides = tuple(min(side, most) for side, most in zip(sides, grid, strict=True))
    if sides == tuple(grid):
        return ()
    return tuple(None if block in everywhere else sides for block in range(depth))

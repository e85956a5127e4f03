"""`features`: what the blocks inside a model say about each place of the image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras

from keras_vit.errors import InputError
from keras_vit.layers import EncoderBlock, PatchEmbedding, PatchMap


def features(
    model: keras.Model, layers: Sequence[int] = (-1,), *, as_maps: bool = True, norm: bool = False
) -> keras.Model:
    """A model that returns what blocks of another model give, made of the same layers: nothing is copied.

    What one of the two learns, the other has. Pixels go in as into the given model.

    Args:
        model: made by `keras_vit.build` for any task, or reloaded.
        layers: numbers of blocks, the first being 0, the last also -1.
        as_maps: patches in their places, class token and registers left out; False gives all tokens in their order.
        norm: apply the model's last normalisation to the tokens of every block.

    Returns:
        A functional model that returns, in the order of `layers`, maps (B, h, w, D) of the patch grid, or tokens
        (B, N, D): a list for several blocks, for one block the tensor itself.

    Raises:
        InputError: not a model of this package, no such block, or maps of merged tokens.
    """
    named = {layer.name: layer for layer in model.layers} if isinstance(model, keras.Model) else {}
    embedding = named.get("patch_embedding")
    if not isinstance(embedding, PatchEmbedding):
        given = repr(getattr(model, "name", model))
        raise InputError(f"Features are taken of a model made by keras_vit.build, and {given:.80} is none.")
    blocks = [layer for layer in model.layers if isinstance(layer, EncoderBlock)]
    grid = tuple(side // embedding.patch_size for side in embedding.input.shape[1:3])
    found = {}
    for index in _indices(layers, len(blocks)):
        if index in found:
            continue
        block, tokens = blocks[index], blocks[index].output
        # A block that merges tokens gives their sizes, too.
        tokens = tokens[0] if isinstance(tokens, (list, tuple)) else tokens
        if as_maps and tokens.shape[1] != block.prefix + math.prod(grid):
            raise InputError(
                f"The patches of block {index} are merged and have no places: take an earlier block, or as_maps=False."
            )
        tokens = named["norm"](tokens) if norm else tokens
        to_map = PatchMap(grid, block.prefix, dtype=block.dtype_policy, name=f"map_{index}")
        found[index] = to_map(tokens) if as_maps else tokens
    outputs = [found[index] for index in _indices(layers, len(blocks))]
    return keras.Model(model.input, outputs, name=f"{model.name}_features")


def _indices(layers: Sequence[int], depth: int) -> list[int]:
    """Block numbers from 0 on.

    Raises:
        InputError: not a list of numbers, an empty one, or no such block.
    """
    if not isinstance(layers, Sequence) or isinstance(layers, str) or not layers:
        raise InputError(f"layers is a list of block numbers, for instance [{depth - 1}] or [-1], not {layers!r}.")
    for index in layers:
        if not isinstance(index, int) or not -depth <= index < depth:
            raise InputError(f"There is no block {index!r}: the model has blocks 0 to {depth - 1} (or -1).")
    return [index % depth for index in layers]

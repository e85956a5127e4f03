"""A model run once more, block by block, with its attention in sight; the model itself is left as it is."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
from keras import ops

from keras_vit.errors import InputError
from keras_vit.layers import AttentionPooling, EncoderBlock, PatchEmbedding, PrefixTokens, TokenPooling


@dataclass(frozen=True)
class Played:
    """One pass over images.

    Attributes:
        entering: tokens (B, N, D) that each block was given.
        leaving: what each block gave on: tokens, and their sizes where some were merged; all of it in one list.
        shares: of each block's attention, (B, heads, N, N) float32, as `observe` returned them.
        origins: (B, N, N0) for each block and for the last tokens: the share that each of the N0 first tokens has in
            one of the N; None for one's own.
    """

    entering: list
    leaving: list
    shares: list
    origins: list


class Replay:
    """Runs the parts of a model made by `keras_vit.build`: its stem, its blocks one by one, and its head.

    The blocks are the model's own, called directly: nothing is traced, copied or compiled. Scores take memory and
    time that a model which is not looked at does not pay.

    Args:
        model: made by `keras_vit.build` for any task, or reloaded.

    Raises:
        InputError: not a model of this package.
    """

    def __init__(self, model: keras.Model):
        if not can_be_looked_into(model):
            given = repr(getattr(model, "name", model))
            raise InputError(f"Only models made by keras_vit.build can be looked into, and {given:.80} is none.")
        embedding = model.get_layer("patch_embedding")
        self.blocks = [layer for layer in model.layers if isinstance(layer, EncoderBlock)]
        self.image_shape = tuple(model.input.shape[1:])
        self.dtype = model.input.dtype
        self.grid = tuple(side // embedding.patch_size for side in embedding.input.shape[1:3])
        self.patch_size = embedding.patch_size
        prefix = {layer.name: layer.count for layer in model.layers if isinstance(layer, PrefixTokens)}
        self.prefix = tuple(["class_token"] * prefix.get("class_token", 0))
        self.prefix += tuple(f"register_{index}" for index in range(prefix.get("registers", 0)))
        self.poolings = [layer for layer in model.layers if isinstance(layer, (TokenPooling, AttentionPooling))]
        # Weakly: the models made here share its layers, which do not know it.
        self._model = weakref.ref(model)

    @property
    def count(self) -> int:
        """N0, the number of tokens before anything is merged."""
        return len(self.prefix) + math.prod(self.grid)

    @cached_property
    def stem(self) -> keras.Model:
        """From images to the first block's tokens."""
        return keras.Model(self._model().input, self.blocks[0].input)

    @cached_property
    def head(self) -> keras.Model:
        """From what all blocks give on, in one list, to the model's outputs."""
        return keras.Model(self._given_on, self._model().output)

    def pooled(self, leaving: list) -> list:
        """What the pooling of a classifier is given, of what all blocks give on: tokens, and sizes of merged ones."""
        own = {id(tensor): value for tensor, value in zip(self._given_on, leaving, strict=True)}
        wanted = keras.tree.flatten(self.poolings[0].input)
        # A model cannot return what it is given: only what is normalised in between goes through one.
        missing = any(id(each) not in own for each in wanted)
        between = iter(keras.tree.flatten(self._between(leaving, training=False)) if missing else ())
        return [own[id(each)] if id(each) in own else next(between) for each in wanted]

    @cached_property
    def _between(self) -> keras.Model:
        own = {id(tensor) for tensor in self._given_on}
        wanted = keras.tree.flatten(self.poolings[0].input)
        return keras.Model(self._given_on, [each for each in wanted if id(each) not in own])

    @property
    def _given_on(self) -> list:
        return keras.tree.flatten([block.output for block in self.blocks])

    @cached_property
    def answer(self) -> keras.Model:
        """From what the pooling of a classifier is given to the model's outputs."""
        return keras.Model(keras.tree.flatten(self.poolings[0].input), self._model().output)

    def play(self, images, observe: Callable = lambda shares: shares) -> Played:
        """Runs stem and blocks.

        Args:
            images: (B, H, W, channels), pixels 0..255.
            observe: is given each block's shares and returns those to go on with.
        """
        carried = [self.stem(images, training=False)]
        entering, leaving, shares, origins = [], [], [], []

        def see(found):
            shares.append(observe(found))
            return shares[-1]

        for block in self.blocks:
            if block.merged and len(carried) < 3:
                # Blocks that merge tokens tell then, whatever their positions are, where each of them came from.
                tokens = carried[0]
                own = ops.broadcast_to(ops.eye(self.count, dtype=tokens.dtype), (len(tokens), self.count, self.count))
                carried = [tokens, None if len(carried) == 1 else carried[1], own]
            entering.append(carried[0])
            origins.append(carried[2] if len(carried) == 3 else None)
            given = block(*carried, training=False, observe=see)
            if block.merged:
                carried = list(given)
            else:
                carried[0] = given
            # Origins that nobody needs but this file are not what the model's next layer takes.
            leaving += list(given)[: len(keras.tree.flatten(block.output))] if block.merged else [given]
        origins.append(carried[2] if len(carried) == 3 else None)
        return Played(entering, leaving, shares, origins)


def can_be_looked_into(model) -> bool:
    """Whether this is a model of this package, of which there is a replay."""
    layers = model.layers if isinstance(model, keras.Model) else ()
    return any(layer.name == "patch_embedding" and isinstance(layer, PatchEmbedding) for layer in layers)


_REPLAYS: weakref.WeakKeyDictionary[keras.Model, Replay] = weakref.WeakKeyDictionary()


def replay_of(model: keras.Model) -> Replay:
    """The model's replay, made once: its parts are kept as long as the model.

    Raises:
        InputError: not a model of this package.
    """
    if not isinstance(model, keras.Model) or model not in _REPLAYS:
        replay = Replay(model)
        _REPLAYS[model] = replay
    return _REPLAYS[model]


def checked(images, replay: Replay) -> np.ndarray:
    """Images as an array (B, H, W, channels) that the model takes.

    Raises:
        InputError: another shape, or none at all.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1:] != replay.image_shape or not len(images):
        wanted = ", ".join(map(str, replay.image_shape))
        raise InputError(f"images have the shape (B, {wanted}), pixels 0..255, not {images.shape}.")
    return images


def spread(values: np.ndarray, origins) -> np.ndarray:
    """What was said of merged tokens, of the N0 first tokens instead.

    Args:
        values: (B, ..., N), shares that sum to one or anything else that is divided among a token's origins.
        origins: (B, N, N0) or None, as in `Played`.

    Returns:
        (B, ..., N0).
    """
    if origins is None:
        return values
    return np.einsum("b...n,bnm->b...m", values, np.asarray(ops.cast(origins, "float32")))

"""What every token of a model looks at, in every head of every block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from keras_vit.errors import InputError
from keras_vit.explain.replay import Replay, checked, replay_of, spread
from keras_vit.layers import AttentionPooling

BATCH = 16
"""Images that are looked at together: their scores are all in memory."""


@dataclass(frozen=True)
class Attention:
    """The attention of some blocks and heads for some images.

    `np.asarray(attention)` are the scores.

    Attributes:
        scores: (B, layers, heads, N, N) float32: how much token i (next to last axis) looks at token j. Rows sum to
            one.
        layers: numbers of the blocks, the first being 0.
        heads: numbers of the heads.
        grid: (h, w) of the patches.
        tokens: N labels: `class_token`, `register_0`, ..., `patch_0_0` (row, column), ...
        readers: (B, N), how much of each of the last tokens goes into the model's answer where it pools them: 1 for a
            class token, equal for the patches of an average. They sum to one.
    """

    scores: np.ndarray
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    grid: tuple[int, int]
    tokens: tuple[str, ...]
    readers: np.ndarray

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self.scores, dtype=dtype, copy=copy)

    @property
    def prefix(self) -> int:
        """Tokens before the patches."""
        return len(self.tokens) - math.prod(self.grid)

    def maps(self, token: str | None = None) -> np.ndarray:
        """What is looked at, as maps (B, layers, heads, h, w): a row of the scores, without class token and registers.

        Args:
            token: whose row; by default of the tokens that the model's answer is read from (the class token, or the
                mean of all patches).

        Raises:
            InputError: there is no such token.
        """
        if token is None:
            rows = np.einsum("bn,blhnm->blhm", self.readers, self.scores)
        elif token in self.tokens:
            rows = self.scores[:, :, :, self.tokens.index(token)]
        else:
            known = ", ".join(self.tokens[: self.prefix + 1])
            raise InputError(f"There is no token {token!r}: there are {known}, ...")
        return self.as_maps(rows)

    def as_maps(self, rows: np.ndarray) -> np.ndarray:
        """(..., N), one number a token, on the patch grid: (..., h, w)."""
        return rows[..., self.prefix :].reshape(*rows.shape[:-1], *self.grid)


def attention(
    model: keras.Model,
    images: np.ndarray,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
) -> Attention:
    """The attention scores of a model, computed on demand.

    They are computed again, block by block, by the model's own layers; the model is neither changed nor traced, and
    does not run slower afterwards. Scores of all blocks take 4 B L H N^2 bytes: for many images or long sequences ask
    for some layers.

    Within windows, scores of patches in other windows are 0. Where tokens are merged, the scores are those of the
    tokens that there were before: merged ones look alike, and share what is looked at.

    Args:
        model: made by `keras_vit.build` for any task, or reloaded.
        images: (B, H, W, channels), pixels 0..255, as the model takes them.
        layers: numbers of blocks, the first being 0, the last also -1; all by default.
        heads: numbers of heads, likewise.

    Returns:
        The scores with labels of their axes.

    Raises:
        InputError: not a model of this package, images of another shape, or no such block or head.
    """
    replay = replay_of(model)
    images = checked(images, replay)
    layers = chosen("block", layers, len(replay.blocks))
    heads = chosen("head", heads, replay.blocks[0].num_heads)
    scores, readers = [], []
    for start in range(0, len(images), BATCH):
        played = replay.play(images[start : start + BATCH])
        scores.append(np.stack([shares_of(played, layer)[:, list(heads)] for layer in layers], axis=1))
        readers.append(readers_of(replay, played))
    return Attention(
        np.concatenate(scores), layers, heads, replay.grid, _labels(replay), np.concatenate(readers, axis=0)
    )


def shares_of(played, layer: int) -> np.ndarray:
    """One block's shares between the N0 first tokens: (B, heads, N0, N0) float32, rows sum to one."""
    return between_first(np.asarray(played.shares[layer]), played.origins[layer])


def between_first(values: np.ndarray, origins) -> np.ndarray:
    """(B, heads, N, N) of merged tokens as (B, heads, N0, N0) of the first ones; without origins as they are."""
    if origins is None:
        return values
    members = np.asarray(ops.cast(origins, "float32")) > 0
    return np.einsum("bnm,bhnk->bhmk", members.astype("float32"), spread(values, origins))


def readers_of(replay: Replay, played) -> np.ndarray:
    """How much of each last token goes into the answer, see `Attention`: (B, N0). Heads that do not pool read all
    patches alike; several poolings count the same."""
    batch, last = len(played.entering[0]), played.leaving[-1] if not replay.blocks[-1].merged else played.leaving[-2]
    count, prefix = last.shape[1], len(replay.prefix)
    patches = np.zeros((batch, count), "float32")
    patches[:, prefix:] = 1.0 / (count - prefix)
    found = []
    for pooling in replay.poolings:
        if isinstance(pooling, AttentionPooling):
            seen = []
            pooling(*replay.pooled(played.leaving), observe=lambda shares, seen=seen: seen.append(shares) or shares)
            found.append(np.asarray(seen[0])[:, :, 0].mean(axis=1))
        elif pooling.mode == "token":
            found.append(np.eye(count, dtype="float32")[None, pooling.index].repeat(batch, axis=0))
        else:
            found.append(patches)
    return spread(np.mean(found or [patches], axis=0), played.origins[-1])


def _labels(replay: Replay) -> tuple[str, ...]:
    return (*replay.prefix, *(f"patch_{row}_{column}" for row, column in np.ndindex(replay.grid)))


def chosen(what: str, numbers: Sequence[int] | None, count: int) -> tuple[int, ...]:
    """Numbers from 0 on; all of them where none are given.

    Raises:
        InputError: not a list of numbers, an empty one, or there is none of a number.
    """
    if numbers is None:
        return tuple(range(count))
    if isinstance(numbers, (str, int)) or not isinstance(numbers, Sequence) or not len(numbers):
        raise InputError(f"Give a list of {what} numbers, for instance [{count - 1}] or [-1], not {numbers!r}.")
    for number in numbers:
        if not isinstance(number, int) or not -count <= number < count:
            raise InputError(f"There is no {what} {number!r}: the model has {what}s 0 to {count - 1} (or -1).")
    return tuple(number % count for number in numbers)

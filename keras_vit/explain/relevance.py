"""Relevance: attention weighted by what it does to the answer, carried through all blocks."""

from __future__ import annotations

import numpy as np

from keras_vit.explain.asked import Asked
from keras_vit.explain.attention import readers_of
from keras_vit.explain.gradients import as_float32, gradients
from keras_vit.explain.replay import Played, spread
from keras_vit.layers import TokenPooling


def relevance(asked: Asked) -> np.ndarray:
    """How much each patch speaks for what is asked, by Chefer, Gur and Wolf, "Generic attention-model explainability
    for interpreting bi-modal and encoder-decoder transformers", ICCV 2021: (B, h, w).

    A block's attention times its gradient, the positive part, averaged over heads, says which tokens the block moved
    to where they speak for the answer; R, the identity at first, grows by that times R. Of a class token its row of R
    is the map. Where the answer is read from patches, they are read as the paper's cross-attention reads its input:
    what a token gathered counts as much, row by row, as its own place does, and each token as much as it gives to the
    answer, see `_read`. Windows are attention that is 0 elsewhere, and of merged tokens R is kept between the tokens
    that there were at first.
    """
    replay, found = asked.replay, []

    def run(watch):
        def observe(shares):
            watch(shares)
            return shares

        found.append(replay.play(asked.images, observe))
        return replay.head(found[0].leaving, training=False), found[0].shares

    slopes, (played,) = gradients(asked, run), found
    own = np.eye(replay.count, dtype="float32")
    gathered, total = np.zeros((len(asked.images), *own.shape), "float32"), 0.0
    for index, read in enumerate(_read(asked, played)):
        useful = np.maximum(np.asarray(played.shares[index]) * slopes[index], 0).mean(1)
        gathered += _first(useful, played.origins[index]) @ (gathered + own)
        if read is not None:
            sums = gathered.sum(-1)
            parts = np.divide(read, sums, out=np.zeros_like(read), where=sums > 0)
            total = total + (parts[:, None] @ gathered)[:, 0] + read
    return asked.as_maps(total)


def _first(values: np.ndarray, origins) -> np.ndarray:
    """(B, N, N) of merged tokens, divided among the pairs of first tokens that are in them: (B, N0, N0).

    Both ways: the gradient of a merged token's attention is the sum of its patches' gradients.
    """
    if origins is None:
        return values
    return spread(spread(values, origins).swapaxes(1, 2), origins).swapaxes(1, 2)


def _read(asked: Asked, played: Played) -> list[np.ndarray | None]:
    """How much each token that a block gives on goes into what is asked: (B, N0), None where it is not read.

    Class tokens are read alike. Pooled patches count as far as they speak for the answer more than patches on average
    do, by token times gradient, which of an average is the patch's own vote. Heads that make maps are no such sums, and
    where they normalise, the product is zero whatever a token does: there its size counts, channel by channel.
    """
    replay = asked.replay
    before = [None] * (len(replay.blocks) - 1)
    if not replay.poolings:
        sizes = _products(asked, list(played.leaving), replay.head, np.abs)
        total = np.maximum(sum(each.sum(-1, keepdims=True) for each in sizes), np.finfo("float32").tiny)
        return [each / total if each.any() else None for each in sizes]
    readers = readers_of(replay, played)
    if all(isinstance(pooling, TokenPooling) and pooling.mode == "token" for pooling in replay.poolings):
        return [*before, readers]
    products = _products(asked, replay.pooled(played.leaving), replay.answer, lambda each: each)[0]
    votes = spread(products, played.origins[-1])
    pooled = votes != 0
    mean = votes.sum(-1, keepdims=True) / np.maximum(pooled.sum(-1, keepdims=True), 1)
    votes = np.maximum(votes - mean, 0) * pooled
    total = votes.sum(-1, keepdims=True)
    return [*before, np.divide(votes, total, out=readers.copy(), where=total > 0)]


def _products(asked: Asked, given: list, rest, of) -> list[np.ndarray]:
    """Tokens times their gradients, summed over channels: (B, N) each.

    Args:
        asked: images and what is explained.
        given: tokens (B, N, D), taken as they are: what they come from does not matter.
        rest: from these to the model's outputs.
        of: is applied to each product before the sum.
    """

    def run(watch):
        for tokens in given:
            watch(tokens)
        return rest(given, training=False), given

    slopes = gradients(asked, run)
    return [of(as_float32(tokens) * slope).sum(-1) for tokens, slope in zip(given, slopes, strict=True)]

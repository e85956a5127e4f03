"""Fewer tokens: the one change of a network that is not exact, and that needs no training (Bolya et al., 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from keras_vit.export.graph.network import Block, Linear, Network, Tail


def reduce_tokens(network: Network, schedule: Sequence[int]) -> Network:
    """Merges tokens that look alike, where the network does not do so already.

    Args:
        network: rewritten by `optimise`, not yet by `equalise`: tokens are compared by the keys as they were trained.
        schedule: patch tokens that each block merges away, 0 for none.

    Returns:
        The network that computes fewer tokens from the first merging block's perceptron on. A last block that
        computes the class token alone merges nothing, and a network whose head or windows need the patches in their
        places stays as it is.
    """
    if isinstance(network.head, Tail) or any(block.attention.windows for block in network.blocks):
        return network

    def merging(block: Block, count: int) -> Block:
        if not count or block.keep is not None:
            return block
        # Whole keys and not their mean over the heads: without retraining they lose less.
        return replace(block, merge=count, metric=block.attention.key)

    blocks = tuple(merging(block, count) for block, count in zip(network.blocks, schedule, strict=True))
    return replace(network, blocks=blocks)


def mean_head(key: Linear, heads: int) -> Linear:
    """The mean of the keys over the heads: one map of its own, which no rescaling of the keys can change."""
    return Linear(key.kernel.reshape(len(key.kernel), heads, -1).mean(1), key.bias.reshape(heads, -1).mean(0))

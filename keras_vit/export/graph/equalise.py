"""Exact rescalings that even out the channels of a network, so that eight bits a tensor are enough for all of them.

A quantised tensor has one scale for all its channels. One channel that is a hundred times larger than the others, as
large ViTs have them, leaves those with one or two of the 256 steps. Dividing a channel where it is written and
multiplying it where it is read moves the size into the weights, which have a scale for every output channel
(SmoothQuant, Xiao et al., 2023; cross-layer equalisation, Nagel et al., 2019).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import tensorflow as tf

from keras_vit.export.graph.emission import ExportGraph
from keras_vit.export.graph.network import Attention, Block, Classifier, Linear, MapPooling, Network, Norm, Tail

Ranges = dict[str, np.ndarray]
"""Path of a tensor -> largest absolute value of each of its channels (D,)."""

SMALLEST = 1e-4
"""Channels are not blown up by more than this undoes: one that is always zero has no size to even out."""


class _Observed(ExportGraph):
    """Keeps the largest absolute value per channel of what normalisations read and linear maps write."""

    def __init__(self, network: Network):
        super().__init__(network, softmax=False)
        self.seen: dict[str, tf.Tensor] = {}

    def _record(self, name: str, x: tf.Tensor) -> tf.Tensor:
        self.seen[self.path(name)] = tf.reduce_max(tf.abs(x), axis=0)
        return x

    def norm(self, x: tf.Tensor, name: str, norm: Norm) -> tf.Tensor:
        return super().norm(self._record(name, x), name, norm)

    def linear(self, x: tf.Tensor, name: str, *maps: Linear) -> tf.Tensor:
        return self._record(name, super().linear(x, name, *maps))


def observe(network: Network, images: np.ndarray, batch: int = 8) -> Ranges:
    """Runs a network over images and measures its channels.

    Args:
        network: any.
        images: (n, H, W, channels), pixels 0..255.
        batch: images at a time.

    Returns:
        The largest absolute values of what every normalisation reads (`block_3/norm1`) and every linear map writes
        (`block_3/attention/qkv`), by its path in the graph.
    """
    graph = _Observed(network)

    @tf.function(reduce_retracing=True)
    def ranges(images):
        graph.seen = {}
        graph(images)
        return graph.seen

    found: Ranges = {}
    for start in range(0, len(images), batch):
        part = ranges(tf.constant(images[start : start + batch].astype("float32")))
        found = {path: np.maximum(found.get(path, 0), values.numpy()) for path, values in part.items()}
    return found


def equalise(network: Network, ranges: Ranges) -> Network:
    """Both equalisations.

    Args:
        network: rewritten by `optimise`.
        ranges: of this network, from `observe`.
    """
    return balance_attention(stretch_stream(network, ranges), ranges)


def stretch_stream(network: Network, ranges: Ranges) -> Network:
    """Stores the residual stream divided by one factor a channel, the same in all blocks.

    What writes to the stream divides, what reads it multiplies, and the normalisations weigh their variances.

    Args:
        network: its stream centred and its normalisations without scale and shift.
        ranges: of the stream, at every normalisation that reads it.

    Returns:
        The network; as it was where its head reads the stream itself.
    """
    if isinstance(network.head, Tail) and network.head.reads_stream:
        return network
    paths = [f"block_{index}/{norm}" for index in range(len(network.blocks)) for norm in ("norm1", "norm2")]
    relative = [values / np.median(values) for values in (ranges[path] for path in paths)]
    stretch = np.maximum(np.mean(relative, axis=0), SMALLEST).astype("float32")
    shrink = 1 / stretch
    changed = {"blocks": tuple(_stretch_block(block, stretch) for block in network.blocks)}
    changed["head"] = _stretch_head(network.head, stretch)
    if network.patch_norm:
        return replace(network, shrink=shrink, **changed)
    return replace(network, patches=network.patches.before_scale(shrink), start=network.start * shrink, **changed)


def balance_attention(network: Network, ranges: Ranges) -> Network:
    """Gives queries, keys and values of a block one common size in every channel.

    Scores are products of queries and keys, so that what one loses the other gains; values are read by the projection
    alone. A rotary position mixes two channels, which then share their factor.
    """
    blocks = [
        replace(block, attention=_balance(block.attention, ranges, f"block_{index}/attention"))
        for index, block in enumerate(network.blocks)
    ]
    return replace(network, blocks=tuple(blocks))


def _balance(attention: Attention, ranges: Ranges, path: str) -> Attention:
    if f"{path}/qkv" in ranges:
        query, key, value = np.split(ranges[f"{path}/qkv"], 3)
    else:
        query, (key, value) = ranges[f"{path}/query"], np.split(ranges[f"{path}/key_value"], 2)
    query, key, value = (np.maximum(values, SMALLEST * values.max()) for values in (query, key, value))
    if attention.rotary is not None:
        query, key = (_pairs_share(values, attention.num_heads) for values in (query, key))
    factor = np.sqrt(key / query)
    # Half of a value channel's size goes to the projection's row; then all values are brought to the scores' level.
    rows = np.maximum(np.abs(attention.projection.kernel).max(1), 1e-12)
    towards = np.sqrt(value * rows) / value
    towards *= np.sqrt(query * key).max() / (value * towards).max()
    return replace(
        attention,
        query=attention.query.before_scale(factor),
        key=attention.key.before_scale(1 / factor),
        value=attention.value.before_scale(towards),
        projection=attention.projection.of_stretched((1 / towards).astype("float32")),
    )


def _pairs_share(values: np.ndarray, heads: int) -> np.ndarray:
    """The larger one of each pair of channels that rotary positions mix: j and j + half a head."""
    halves = values.reshape(heads, 2, -1).max(1, keepdims=True)
    return np.repeat(halves, 2, axis=1).reshape(-1)


def _stretch_block(block: Block, stretch: np.ndarray) -> Block:
    attention, mlp = block.attention, block.mlp
    readers = {name: getattr(attention, name).of_stretched(stretch) for name in ("query", "key", "value")}
    return replace(
        block,
        norm1=replace(block.norm1, stretch=stretch),
        attention=replace(attention, projection=attention.projection.before_scale(1 / stretch), **readers),
        norm2=replace(block.norm2, stretch=stretch),
        mlp=replace(
            mlp,
            expand=mlp.expand.of_stretched(stretch),
            gate=mlp.gate.of_stretched(stretch) if mlp.gate else None,
            contract=mlp.contract.before_scale(1 / stretch),
        ),
        metric=block.metric.of_stretched(stretch) if block.metric else None,
    )


def _stretch_head(head: Classifier | Tail, stretch: np.ndarray) -> Classifier | Tail:
    norm = replace(head.norm, stretch=stretch)
    if isinstance(head, Tail):
        return replace(head, norm=replace(norm, scale=norm.scale * stretch))
    if head.map is None:
        copies = head.tokens if head.pooling == "token" else 1
        return replace(head, norm=norm, linear=head.linear.of_stretched(np.tile(stretch, copies)))
    pooling: MapPooling = head.map
    readers = {name: getattr(pooling.attention, name).of_stretched(stretch) for name in ("key", "value")}
    return replace(head, norm=norm, map=replace(pooling, attention=replace(pooling.attention, **readers)))

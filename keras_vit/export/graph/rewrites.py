"""Exact rewrites of a network: the same function, in fewer operations.

Each takes a network and returns an equal one; `optimise` applies all of them in the one order that lets each find
what it needs. Why they pay: the matrix products already run at a processor's peak, so that what is left to win is
everything between them, and the products whose results nobody reads.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from keras_vit.export.graph.network import (
    Attention,
    Block,
    Classifier,
    MapPooling,
    Network,
    Norm,
    Perceptron,
    Tail,
    centred,
)


def optimise(network: Network) -> Network:
    """All rewrites."""
    for rewrite in (fold_score_scale, fold_affine, centre_stream, prune_last_block):
        network = rewrite(network)
    return network


def fold_score_scale(network: Network) -> Network:
    """The factor of the attention scores becomes part of the queries' map."""

    def fold(attention: Attention) -> Attention:
        return replace(attention, query=attention.query.before_scale(attention.scale), scale=1.0)

    blocks = tuple(replace(block, attention=fold(block.attention)) for block in network.blocks)
    head = network.head
    if isinstance(head, Classifier) and head.map:
        pooling = replace(
            head.map, query=head.map.query * np.float32(head.map.attention.scale), attention=fold(head.map.attention)
        )
        head = replace(head, map=pooling)
    return replace(network, blocks=blocks, head=head)


def fold_affine(network: Network) -> Network:
    """Scale and shift of every normalisation become part of the maps that read it.

    `patch_norm` keeps its own: what reads it is the residual stream. So does the last one where layers read it that are
    written as they are.
    """
    head = network.head if isinstance(network.head, Tail) else _fold_head(network.head)
    return replace(network, blocks=tuple(map(_fold_block, network.blocks)), head=head)


def centre_stream(network: Network) -> Network:
    """Everything that is added to the residual stream loses its mean over the channels.

    Every reader of the stream is a layer normalisation, which subtracts that mean anyway; after this rewrite there is
    none to subtract, and `x * rsqrt(mean(x * x) + epsilon)` is the whole normalisation. A head that reads the stream
    itself may see the mean: its network stays as it is.
    """
    if isinstance(network.head, Tail) and network.head.reads_stream:
        return network

    def centre(block: Block) -> Block:
        return replace(
            block,
            norm1=_zero_mean(block.norm1),
            attention=replace(block.attention, projection=block.attention.projection.centred()),
            norm2=_zero_mean(block.norm2),
            mlp=replace(block.mlp, contract=block.mlp.contract.centred()),
        )

    return replace(
        network,
        patches=network.patches.centred(),
        start=centred(network.start),
        patch_norm=_zero_mean(network.patch_norm) if network.patch_norm else None,
        centre=network.patch_norm is not None,
        blocks=tuple(map(centre, network.blocks)),
        head=replace(network.head, norm=_zero_mean(network.head.norm)),
    )


def prune_last_block(network: Network) -> Network:
    """The last block computes only the tokens that the classifier reads: one of 197, where it pools by class token."""
    if isinstance(network.head, Tail) or network.head.pooling != "token":
        return network
    *blocks, last = network.blocks
    # Class tokens attend to everything, whatever the windows.
    attention = replace(last.attention, windows=None)
    last = replace(last, attention=attention, keep=network.head.tokens, merge=0, metric=None)
    return replace(network, blocks=(*blocks, last))


def _fold_block(block: Block) -> Block:
    return replace(
        block,
        norm1=_bare(block.norm1),
        attention=_fold_into_attention(block.attention, block.norm1),
        norm2=_bare(block.norm2),
        mlp=_fold_into_mlp(block.mlp, block.norm2),
        metric=block.metric.after_affine(block.norm1.scale, block.norm1.shift) if block.metric else None,
    )


def _fold_into_attention(attention: Attention, norm: Norm) -> Attention:
    names = ("query", "key", "value")
    folded = {name: getattr(attention, name).after_affine(norm.scale, norm.shift) for name in names}
    return replace(attention, **folded)


def _fold_into_mlp(mlp: Perceptron, norm: Norm) -> Perceptron:
    """A perceptron that reads the bare normalisation; its own, of the hidden units, is folded as well."""
    gate = mlp.gate.after_affine(norm.scale, norm.shift) if mlp.gate else None
    mlp = replace(mlp, expand=mlp.expand.after_affine(norm.scale, norm.shift), gate=gate)
    if mlp.norm is None:
        return mlp
    return replace(mlp, contract=mlp.contract.after_affine(mlp.norm.scale, mlp.norm.shift), norm=_bare(mlp.norm))


def _fold_head(head: Classifier) -> Classifier:
    norm = head.norm
    if head.map:
        pooling: MapPooling = head.map
        pooling = replace(
            pooling,
            attention=_fold_into_attention(pooling.attention, norm),
            norm=_bare(pooling.norm),
            mlp=_fold_into_mlp(pooling.mlp, pooling.norm),
        )
        return replace(head, norm=_bare(norm), map=pooling)
    # An average of scaled and shifted tokens is the scaled and shifted average.
    copies = head.tokens if head.pooling == "token" else 1
    linear = head.linear.after_affine(np.tile(norm.scale, copies), np.tile(norm.shift, copies))
    return replace(head, norm=_bare(norm), linear=linear)


def _bare(norm: Norm) -> Norm:
    return replace(norm, scale=None, shift=None)


def _zero_mean(norm: Norm) -> Norm:
    return replace(norm, zero_mean=True)

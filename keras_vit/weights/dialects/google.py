"""The names of Google's JAX code: vision_transformer (original and AugReg) and big_vision (SigLIP, FlexiViT).

`vit_jax/models_vit.py` in google-research/vision_transformer, `big_vision/models/vit.py` in
google-research/big_vision. Flax keeps dense kernels as (in, out) and convolutions as (h, w, in, out), as Keras does;
attention has an axis for the heads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from keras_vit.weights.architecture import Architecture
from keras_vit.weights.dialects.dialect import Dialect
from keras_vit.weights.dialects.rows import BATCHED, Arrays, Layout, Row, in_blocks, merged, row

MAP_HEAD = "MAPHead_0"


@dataclass(frozen=True)
class Parts:
    """What Flax called the parts of a block, by counting them."""

    attention: str
    norm2: str
    mlp: str


ORIGINAL = Parts("MultiHeadDotProductAttention_1", "LayerNorm_2", "MlpBlock_3")
BIG_VISION = Parts("MultiHeadDotProductAttention_0", "LayerNorm_1", "MlpBlock_0")


@dataclass(frozen=True)
class GoogleDialect(Dialect):
    """Leaves the classifier of the first in-21k files out, because it stands behind a layer that later ones lack."""

    def canonical(self, names: Iterable[str]) -> dict[str, str] | None:
        """As every dialect, without `pre_logits` and the head behind it."""
        found = super().canonical(names)
        if found is None or "pre_logits/kernel" not in found:
            return found
        return {name: original for name, original in found.items() if name.split("/")[0] not in ("pre_logits", "head")}


def rows(architecture: Architecture) -> list[Row]:
    """The table of an architecture: blocks as the original code names them, as big_vision does, and scanned."""
    num_heads, depth = architecture.variant.size.num_heads, architecture.depth
    stem = (
        row("embedding/kernel", "patch_embedding/projection/kernel", _of_rank(4)),
        row("embedding/bias", "patch_embedding/projection/bias"),
        row("cls", "class_token/tokens"),
    )
    positions = ("Transformer/posembed_input/pos_embedding", "Transformer/pos_embedding", "pos_embedding")
    # big_vision's blocks differ from the original's only in their numbers; its positions lie elsewhere.
    original = architecture.variant.family_name == "vit"
    blocks = [
        in_blocks(depth, _block("Transformer/encoderblock_{i}", parts, num_heads))
        for parts in ((ORIGINAL, BIG_VISION) if original else (BIG_VISION, ORIGINAL))
    ]
    table = _of_rank(3).then(BATCHED)
    return [
        *stem,
        *(row(name, "position_embedding/embedding", table) for name in (positions if original else positions[::-1])),
        *blocks[0],
        *blocks[1],
        *(_scanned(each, depth) for each in _block("Transformer/encoderblock", BIG_VISION, num_heads)),
        *_norm("Transformer/encoder_norm", "norm"),
        *_map_head(num_heads),
        *_dense("head", "head"),
    ]


def _block(theirs: str, parts: Parts, num_heads: int) -> list[Row]:
    attention, heads = f"{theirs}/{parts.attention}", _heads(num_heads)
    names = ("query", "key", "value")
    return [
        *_norm(f"{theirs}/LayerNorm_0", "block_{i}/norm1"),
        merged([f"{attention}/{name}/kernel" for name in names], "block_{i}/attention/qkv/kernel", heads),
        merged([f"{attention}/{name}/bias" for name in names], "block_{i}/attention/qkv/bias", heads),
        row(f"{attention}/out/kernel", "block_{i}/attention/projection/kernel", _heads_first(num_heads)),
        row(f"{attention}/out/bias", "block_{i}/attention/projection/bias"),
        *_norm(f"{theirs}/{parts.norm2}", "block_{i}/norm2"),
        *_dense(f"{theirs}/{parts.mlp}/Dense_0", "block_{i}/mlp/expand"),
        *_dense(f"{theirs}/{parts.mlp}/Dense_1", "block_{i}/mlp/contract"),
    ]


def _map_head(num_heads: int) -> list[Row]:
    attention, heads = f"{MAP_HEAD}/{BIG_VISION.attention}", _heads(num_heads)
    return [
        row(f"{MAP_HEAD}/probe", "pool/probe"),
        row(f"{attention}/query/kernel", "pool/query/kernel", heads),
        row(f"{attention}/query/bias", "pool/query/bias", heads),
        merged([f"{attention}/{name}/kernel" for name in ("key", "value")], "pool/key_value/kernel", heads),
        merged([f"{attention}/{name}/bias" for name in ("key", "value")], "pool/key_value/bias", heads),
        row(f"{attention}/out/kernel", "pool/projection/kernel", _heads_first(num_heads)),
        row(f"{attention}/out/bias", "pool/projection/bias"),
        *_norm(f"{MAP_HEAD}/LayerNorm_0", "pool/norm"),
        *_dense(f"{MAP_HEAD}/{BIG_VISION.mlp}/Dense_0", "pool/mlp/expand"),
        *_dense(f"{MAP_HEAD}/{BIG_VISION.mlp}/Dense_1", "pool/mlp/contract"),
    ]


def _norm(theirs: str, ours: str) -> tuple[Row, Row]:
    return row(f"{theirs}/scale", f"{ours}/gamma"), row(f"{theirs}/bias", f"{ours}/beta")


def _dense(theirs: str, ours: str) -> tuple[Row, Row]:
    return row(f"{theirs}/kernel", f"{ours}/kernel"), row(f"{theirs}/bias", f"{ours}/bias")


def _heads(num_heads: int) -> Layout:
    """(..., heads, head_dim) and our (..., D)."""
    return Layout(
        lambda a: a.reshape(*a.shape[:-2], -1),
        lambda a: a.reshape(*a.shape[:-1], num_heads, -1),
    )


def _heads_first(num_heads: int) -> Layout:
    """(heads, head_dim, D) and our (D, D)."""
    return Layout(lambda a: a.reshape(-1, a.shape[-1]), lambda a: a.reshape(num_heads, -1, a.shape[-1]))


def _of_rank(rank: int) -> Layout:
    """An array that stays as it is, unless it is another one of the same name (NaFlex has a dense embedding)."""

    def read(array: np.ndarray) -> np.ndarray:
        if array.ndim != rank:
            raise ValueError(f"{rank} axes are needed")
        return array

    return Layout(read, lambda a: a)


def _scanned(each: Row, depth: int) -> Row:
    """A row of a block, where one array holds that of all blocks along its first axis (`nn.scan`)."""

    def read(arrays: Arrays) -> Arrays:
        if any(len(array) != depth for array in arrays):
            raise ValueError(f"the model has {depth} blocks")
        return [ours for block in zip(*arrays, strict=True) for ours in each.read(block)]

    def write(arrays: Arrays) -> Arrays:
        count = len(each.ours)
        blocks = [each.write(arrays[first : first + count]) for first in range(0, len(arrays), count)]
        return [np.stack(theirs) for theirs in zip(*blocks, strict=True)]

    return Row(each.theirs, tuple(path for i in range(depth) for path in each.at(i).ours), read, write)


GOOGLE = GoogleDialect(
    "google",
    marks=("embedding/kernel",),
    rows=rows,
    # Optimizers and counters beside the weights; the other half of a two-tower model.
    ignored=re.compile(r"(?:opt|extra|chrono|state)/.*|(?:params/)?(?:txt/.*|t|b)"),
)

"""What the original PyTorch releases of DeiT, DINO, MAE, BEiT, DINOv2, DINOv3 and EVA-02 name differently from timm.

Most names are timm's, which began as theirs: the table is timm's with these rows before it, and without those whose
names mean something else here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from keras_vit.weights.architecture import Architecture
from keras_vit.weights.dialects import timm
from keras_vit.weights.dialects.dialect import Dialect, unambiguous
from keras_vit.weights.dialects.rows import LINEAR, Arrays, Row, in_blocks, linear, merged, norm, row

CHUNK = re.compile(r"^blocks\.\d+\.(?=\d+\.)")


@dataclass(frozen=True)
class MetaDialect(Dialect):
    """Undoes the chunks that DINOv2's training script keeps its blocks in: `blocks.1.11.` is `blocks.11.`."""

    def canonical(self, names: Iterable[str]) -> dict[str, str] | None:
        """As every dialect, without the numbers of the chunks."""
        found = super().canonical(names)
        return found and unambiguous(found, lambda name: CHUNK.sub("blocks.", name))


def rows(architecture: Architecture) -> list[Row]:
    """The table of an architecture."""
    variant, depth = architecture.variant, architecture.depth
    own = []
    if variant.family.positions == "patches":
        own.append(_tokens_with_positions())
    if variant.family.rotary == "dinov3":
        own += [row("storage_tokens", "registers/tokens"), *in_blocks(depth, [_masked_bias()])]
    if variant.size.gated:
        own += in_blocks(depth, _gated_mlp())
    renamed = {each.theirs for each in own}
    others = [each for each in timm.rows(architecture) if each.theirs not in renamed]
    shared = [_shared_bias(depth)] if variant.family.relative_bias else []
    return [*own, *others, *shared]


def _tokens_with_positions() -> Row:
    """DINOv2 with registers: the positions have a row for the class token, which ours holds by itself."""

    def read(arrays: Arrays) -> Arrays:
        class_token, positions, registers = arrays
        return [class_token + positions[:, :1], positions[0, 1:], registers]

    def write(arrays: Arrays) -> Arrays:
        class_token, positions, registers = arrays
        return [class_token, np.concatenate([np.zeros_like(class_token), positions[None]], axis=1), registers]

    return Row(
        ("cls_token", "pos_embed", "register_tokens"),
        ("class_token/tokens", "position_embedding/embedding", "registers/tokens"),
        read,
        write,
    )


def _masked_bias() -> Row:
    """DINOv3: one bias for queries, keys and values, of which that of the keys is masked."""

    def read(arrays: Arrays) -> Arrays:
        query, _, value = np.split(arrays[0], 3)
        return [query, value]

    def write(arrays: Arrays) -> Arrays:
        query, value = arrays
        return [np.concatenate([query, np.zeros_like(query), value])]

    ours = ("block_{i}/attention/query_bias", "block_{i}/attention/value_bias")
    return Row(("blocks.{i}.attn.qkv.bias",), ours, read, write)


def _gated_mlp() -> list[Row]:
    """SwiGLU with its first two layers apart (DINOv3, EVA-02) or in one (DINOv2, the small EVA-02)."""
    mlp, gates = "blocks.{i}.mlp", ("blocks.{i}.mlp.w1", "blocks.{i}.mlp.w2")
    return [
        merged([f"{name}.weight" for name in gates], "block_{i}/mlp/expand/kernel", LINEAR),
        merged([f"{name}.bias" for name in gates], "block_{i}/mlp/expand/bias"),
        *linear(f"{mlp}.w12", "block_{i}/mlp/expand"),
        *norm(f"{mlp}.ffn_ln", "block_{i}/mlp/norm"),
        *linear(f"{mlp}.w3", "block_{i}/mlp/contract"),
    ]


def _shared_bias(depth: int) -> Row:
    """BEiT before fine-tuning: one table of relative positions for all blocks, each of which has its own here."""
    ours = tuple(f"block_{index}/attention/relative_bias/table" for index in range(depth))
    theirs = ("rel_pos_bias.relative_position_bias_table",)
    return Row(theirs, ours, lambda a: [a[0]] * depth, lambda a: [a[0]])


META = MetaDialect(
    "meta",
    marks=("patch_embed.proj.weight",),
    rows=rows,
    ignored=re.compile(
        # What only pretraining needs: masks, decoders, projection heads, heads that predict what was masked.
        r"mask_token|decoder_.*|lm_head\..*|cls_pt_layers\..*|local_cls_norm\..*"
        r"|(?:module\.)?(?:head|dino_head|ibot_head)\.(?:mlp|last_layer).*"
        # Constants: which entry of a table, angles, masks.
        r"|(?:.*\.)?(?:relative_position_index|rope\.freqs_cos|rope\.freqs_sin|rope_embed\.periods|attn\.qkv\.bias_mask)"
    ),
)

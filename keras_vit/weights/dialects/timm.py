"""timm's names (`vision_transformer.py`, `beit.py`, `eva.py`), as a table that can be read.

DeiT, DINO, MAE and BEiT were released with the same names; `meta.py` has those that were not.
"""

from __future__ import annotations

from keras_vit.weights.architecture import Architecture
from keras_vit.weights.dialects.dialect import Dialect
from keras_vit.weights.dialects.rows import (
    BATCHED,
    CONV,
    LINEAR,
    SAME,
    Row,
    absent,
    beside,
    in_blocks,
    linear,
    merged,
    norm,
    paired_halves,
    row,
)
from keras_vit.weights.dialects.timm_config import configs

STEM = (
    row("cls_token", "class_token/tokens"),
    row("pos_embed", "position_embedding/embedding", BATCHED),
    row("patch_embed.proj.weight", "patch_embedding/projection/kernel", CONV),
    row("patch_embed.proj.bias", "patch_embedding/projection/bias"),
    *norm("norm_pre", "patch_norm"),
)
REGISTERS = (row("reg_token", "registers/tokens"), row("dist_token", "registers/tokens"))
FINAL_NORM = (norm("norm", "norm"), norm("fc_norm", "norm"))
HEAD = (
    row("attn_pool.latent", "pool/probe"),
    *linear("attn_pool.q", "pool/query"),
    *linear("attn_pool.kv", "pool/key_value"),
    *linear("attn_pool.proj", "pool/projection"),
    *norm("attn_pool.norm", "pool/norm"),
    *linear("attn_pool.mlp.fc1", "pool/mlp/expand"),
    *linear("attn_pool.mlp.fc2", "pool/mlp/contract"),
    *linear("head", "head"),
    *linear("head_dist", "head_distilled"),
)
BLOCK = (
    *norm("blocks.{i}.norm1", "block_{i}/norm1"),
    row("blocks.{i}.attn.relative_position_bias_table", "block_{i}/attention/relative_bias/table"),
    *linear("blocks.{i}.attn.proj", "block_{i}/attention/projection"),
    *norm("blocks.{i}.norm2", "block_{i}/norm2"),
    *norm("blocks.{i}.mlp.norm", "block_{i}/mlp/norm"),
    *linear("blocks.{i}.mlp.fc2", "block_{i}/mlp/contract"),
)
SCALES = (
    (row("blocks.{i}.ls1.gamma", "block_{i}/scale1/gamma"), row("blocks.{i}.ls2.gamma", "block_{i}/scale2/gamma")),
    (row("blocks.{i}.gamma_1", "block_{i}/scale1/gamma"), row("blocks.{i}.gamma_2", "block_{i}/scale2/gamma")),
)
EXPANDS = (
    linear("blocks.{i}.mlp.fc1", "block_{i}/mlp/expand"),
    (
        merged(("blocks.{i}.mlp.fc1_g.weight", "blocks.{i}.mlp.fc1_x.weight"), "block_{i}/mlp/expand/kernel", LINEAR),
        merged(("blocks.{i}.mlp.fc1_g.bias", "blocks.{i}.mlp.fc1_x.bias"), "block_{i}/mlp/expand/bias"),
    ),
)
FORMS = {"beit": "beit", "beitv2": "beit", "eva02": "eva", "dinov3": "eva"}
"""Families that timm builds from another class than `VisionTransformer`."""


def rows(architecture: Architecture) -> list[Row]:
    """The table of an architecture, in each pair of spellings the one first that timm itself has for it."""
    variant = architecture.variant
    form = FORMS.get(variant.family_name, "vit")
    split_gate = variant.size.gated and (variant.size.mlp_norm or variant.family_name == "dinov3")

    def either(pair, second: bool):
        return (*pair[1], *pair[0]) if second else (*pair[0], *pair[1])

    return [
        *STEM,
        *either([REGISTERS[:1], REGISTERS[1:]], variant.family.distilled),
        *in_blocks(
            architecture.depth,
            (
                *BLOCK,
                *_queries_keys_values(architecture),
                *either(SCALES, form != "vit"),
                *either(EXPANDS, split_gate),
            ),
        ),
        *_final_norm(architecture),
        *HEAD,
    ]


def _final_norm(architecture: Architecture) -> tuple[Row, ...]:
    before, after = FINAL_NORM
    if architecture.norm_after_pooling:
        return (*after, *before)
    # Averaging normalised tokens is not normalising their average, so the one is not read as the other.
    return before if architecture.pooling == "avg" else (*before, *after)


def _queries_keys_values(architecture: Architecture) -> list[Row]:
    variant = architecture.variant
    # EVA-02 turns neighbouring channels into each other, our one rotation those half a head apart.
    turn = paired_halves(variant.size.num_heads) if variant.family.rotary == "eva02" else SAME
    whole = beside(turn, turn, SAME)
    fused = (
        row("blocks.{i}.attn.qkv.weight", "block_{i}/attention/qkv/kernel", LINEAR.then(whole)),
        row("blocks.{i}.attn.qkv.bias", "block_{i}/attention/qkv/bias"),
        row("blocks.{i}.attn.q_bias", "block_{i}/attention/query_bias", turn),
        row("blocks.{i}.attn.v_bias", "block_{i}/attention/value_bias"),
    )
    apart = (
        merged([f"blocks.{{i}}.attn.{x}_proj.weight" for x in "qkv"], "block_{i}/attention/qkv/kernel", LINEAR, whole),
        row("blocks.{i}.attn.q_proj.bias", "block_{i}/attention/query_bias", turn),
        row("blocks.{i}.attn.v_proj.bias", "block_{i}/attention/value_bias"),
    )
    width = (variant.size.width,)
    # DINOv3 was published with and without biases, which were found to be zero.
    zero = [absent(f"block_{{i}}/attention/{x}_bias", width) for x in ("query", "value")]
    first, second = (apart, fused) if variant.size.mlp_norm else (fused, apart)
    return [*first, *second, *(zero if variant.family_name == "dinov3" else ())]


TIMM = Dialect("timm", marks=("patch_embed.proj.weight",), rows=rows, configs=configs)

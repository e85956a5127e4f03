"""Hugging Face transformers' names, as tables that can be read.

Files on the Hub, and those that `save_pretrained` writes, have the names of transformers 4. Its version 5 calls many
modules otherwise, which shows in a saved state dict. Both are read, the first are written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from keras_vit.weights.architecture import Architecture
from keras_vit.weights.dialects import huggingface_block as block
from keras_vit.weights.dialects import huggingface_head as head
from keras_vit.weights.dialects.dialect import Dialect
from keras_vit.weights.dialects.huggingface_config import configs, model_of
from keras_vit.weights.dialects.rows import (
    BATCHED,
    CONV,
    FLAT,
    Arrays,
    Row,
    absent,
    in_blocks,
    norm,
    row,
)

CLASS_TOKEN = row("embeddings.cls_token", "class_token/tokens")
REGISTERS = row("embeddings.register_tokens", "registers/tokens")
VIT_STEM = (
    CLASS_TOKEN,
    row("embeddings.position_embeddings", "position_embedding/embedding", BATCHED),
    row("embeddings.patch_embeddings.projection.weight", "patch_embedding/projection/kernel", CONV),
    row("embeddings.patch_embeddings.projection.bias", "patch_embedding/projection/bias"),
)
DINOV3_STEM = (
    CLASS_TOKEN,
    REGISTERS,
    row("embeddings.patch_embeddings.weight", "patch_embedding/projection/kernel", CONV),
    row("embeddings.patch_embeddings.bias", "patch_embedding/projection/bias"),
)
CLIP_STEM = (
    row("embeddings.class_embedding", "class_token/tokens", FLAT),
    row("embeddings.position_embedding.weight", "position_embedding/embedding"),
    row("embeddings.patch_embedding.weight", "patch_embedding/projection/kernel", CONV),
    row("embeddings.patch_embedding.bias", "patch_embedding/projection/bias"),
    *norm("pre_layrnorm", "patch_norm"),
)
BEIT_SHARED_BIAS = (
    row("encoder.relative_position_bias.relative_position_bias_table", "block_{i}/attention/relative_bias/table"),
    row("shared_position_bias.relative_position_bias_table", "block_{i}/attention/relative_bias/table"),
)
"""One table for all blocks, as BEiT has it before fine-tuning."""


@dataclass(frozen=True)
class Names:
    """What a class of transformers calls its arrays.

    Attributes:
        stem: rows before the blocks.
        blocks: what blocks are called on the Hub, and since transformers 5.
        heads: rows of the classifier, for an architecture.
        norm: the last normalisation.
        pooling: rows of an attention pooling.
        mask: leading axes of the mask token, which only pretraining uses and every file has; None for no such token.
        pooler: whether the class without a classifier has a dense layer after the class token.
    """

    stem: tuple[Row, ...]
    blocks: tuple[block.Block, ...]
    heads: Callable[[Architecture], list[Row]] = head.classifier
    norm: str = "layernorm"
    pooling: tuple[Row, ...] = ()
    mask: tuple[int, ...] | None = None
    pooler: bool = False


_VIT_BLOCKS = (block.VIT, block.VIT_OF_5)
_DINOV2_BLOCKS = (block.DINOV2, block.DINOV2_OF_5)
_DEIT_STEM = (*VIT_STEM, row("embeddings.distillation_token", "registers/tokens"))

NAMES = {
    "vit": Names(VIT_STEM, _VIT_BLOCKS, pooler=True),
    "deit": Names(_DEIT_STEM, _VIT_BLOCKS, head.two_classifiers, pooler=True),
    "ijepa": Names(VIT_STEM, _VIT_BLOCKS),
    "beit": Names(VIT_STEM, _VIT_BLOCKS),
    "dinov2": Names(VIT_STEM, _DINOV2_BLOCKS, head.half_classifier, mask=(1,)),
    "dinov2_with_registers": Names((*VIT_STEM, REGISTERS), _DINOV2_BLOCKS, head.half_classifier, mask=(1,)),
    "dinov3_vit": Names(DINOV3_STEM, (block.DINOV3, block.DINOV3_OF_5), head.no_classifier, "norm", mask=(1, 1)),
    "clip_vision_model": Names(CLIP_STEM, (block.CLIP,), head.projection, "post_layernorm"),
    "siglip_vision_model": Names(
        CLIP_STEM, (block.CLIP,), head.average_classifier, "post_layernorm", pooling=head.ATTENTION_POOLING
    ),
}
"""transformers' `model_type` -> its names."""

IGNORED = re.compile(
    r"(embeddings\.)?mask_token|embeddings\.position_ids|.*\.relative_position_index"
    r"|pooler\.dense\..*|decoder\..*|lm_head\..*"
    r"|text_model\..*|text_projection\..*|logit_scale|logit_bias"
)
"""What only pretraining uses, and the text half of CLIP and SigLIP."""


def rows(architecture: Architecture) -> list[Row]:
    """The table of an architecture.

    Names come without what stands before them in the file, and before that, to be written, with it.

    Raises:
        InputError: transformers has no such model.
    """
    model = model_of(architecture)
    names = NAMES[model.type]
    norms = [norm(names.norm, "norm"), norm("pooler.layernorm", "norm")]
    body = [
        *([_joined_positions()] if architecture.variant.family.positions == "patches" else ()),
        *names.stem,
        *(each for spelling in names.blocks for each in in_blocks(architecture.depth, spelling.rows(architecture))),
        *in_blocks(architecture.depth, BEIT_SHARED_BIAS),
        *(each for pair in (reversed(norms) if architecture.norm_after_pooling else norms) for each in pair),
        *names.pooling,
    ]
    prefix = model.prefix(architecture)
    written = [
        replace(each, theirs=tuple(prefix + name for name in each.theirs))
        for each in (*body, *_constants(names, architecture))
    ]
    # The classifier comes first: where it cannot be read, nothing else has been read yet.
    return [*names.heads(architecture), *written, *body, *_absent_biases(architecture)]


def _joined_positions() -> Row:
    """Our class token has its position in it where only patches have positions; theirs has one beside it."""

    def read(arrays: Arrays) -> Arrays:
        token, table = arrays
        return [token + table[:, :1], table[0, 1:]]

    def write(arrays: Arrays) -> Arrays:
        token, table = arrays
        return [token, np.concatenate([np.zeros_like(table[:1]), table])[None]]

    theirs = ("embeddings.cls_token", "embeddings.position_embeddings")
    return Row(theirs, ("class_token/tokens", "position_embedding/embedding"), read, write)


def _absent_biases(architecture: Architecture) -> list[Row]:
    """DINOv3's largest was published without biases of query and value."""
    if architecture.variant.family_name != "dinov3":
        return []
    shape = (architecture.variant.size.width,)
    biases = [absent(f"block_{{i}}/attention/{name}_bias", shape) for name in ("query", "value")]
    return in_blocks(architecture.depth, biases)


def _constants(names: Names, architecture: Architecture) -> list[Row]:
    """Arrays that their class has and ours does without, so that a strict reader misses nothing."""
    width = architecture.variant.size.width
    constants = {}
    if names.mask is not None:
        constants["embeddings.mask_token"] = np.zeros((*names.mask, width), "float32")
    if names.pooler and not architecture.num_classes:
        # With the configuration's linear `pooler_act` the pooler's output is the class token.
        constants["pooler.dense.weight"] = np.eye(width, dtype="float32")
        constants["pooler.dense.bias"] = np.zeros(width, "float32")
    return [Row((name,), (), lambda _: [], lambda _, value=value: [value]) for name, value in constants.items()]


HUGGINGFACE = Dialect(
    "huggingface",
    marks=(
        "embeddings.patch_embeddings.projection.weight",
        "embeddings.patch_embeddings.weight",
        "embeddings.patch_embedding.weight",
    ),
    rows=rows,
    ignored=IGNORED,
    configs=configs,
)

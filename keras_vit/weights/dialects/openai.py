"""The names of the image tower in OpenAI's CLIP and in OpenCLIP (`clip/model.py`, `open_clip/transformer.py`)."""

from __future__ import annotations

import re

import numpy as np

from keras_vit.errors import InputError
from keras_vit.weights.architecture import Architecture
from keras_vit.weights.dialects.dialect import Dialect
from keras_vit.weights.dialects.rows import CONV, FLAT, LINEAR, Arrays, Row, in_blocks, linear, norm, row

RESBLOCK, ATTENTION = "visual.transformer.resblocks.{i}", "visual.transformer.resblocks.{i}.attn"
BLOCK = (
    *norm(f"{RESBLOCK}.ln_1", "block_{i}/norm1"),
    row(f"{ATTENTION}.in_proj_weight", "block_{i}/attention/qkv/kernel", LINEAR),
    row(f"{ATTENTION}.in_proj_bias", "block_{i}/attention/qkv/bias"),
    *linear(f"{ATTENTION}.out_proj", "block_{i}/attention/projection"),
    *norm(f"{RESBLOCK}.ln_2", "block_{i}/norm2"),
    *linear(f"{RESBLOCK}.mlp.c_fc", "block_{i}/mlp/expand"),
    *linear(f"{RESBLOCK}.mlp.c_proj", "block_{i}/mlp/contract"),
)


def rows(architecture: Architecture) -> list[Row]:
    """The table of an architecture. The projection to the space that images and texts share is our classifier."""
    return [
        row("visual.conv1.weight", "patch_embedding/projection/kernel", CONV),
        row("visual.class_embedding", "class_token/tokens", FLAT),
        row("visual.positional_embedding", "position_embedding/embedding"),
        *norm("visual.ln_pre", "patch_norm"),
        *in_blocks(architecture.depth, BLOCK),
        *norm("visual.ln_post", "norm"),
        Row(("visual.proj",), ("head/kernel", "head/bias"), _read_projection, _write_projection),
    ]


def _read_projection(arrays: Arrays) -> Arrays:
    return [arrays[0], np.zeros(arrays[0].shape[-1:], "float32")]


def _write_projection(arrays: Arrays) -> Arrays:
    kernel, bias = arrays
    if np.any(bias):
        raise InputError("CLIP's projection has no bias: this classifier's is not zero and cannot be written so.")
    return [kernel]


OPENAI = Dialect(
    "openai",
    marks=("visual.conv1.weight",),
    rows=rows,
    # The text tower and the temperature: all that is not the image tower.
    ignored=re.compile(r"(?!visual\.).*"),
)

"""A ViT with outlier channels: the same function in float, and ruin for naive int8.

Large pretrained ViTs have a few activation channels tens of times wider than the rest, which one int8 scale per tensor
cannot hold together with them (FQ-ViT, Lin et al., 2022; SmoothQuant, Xiao et al., 2023). A small model gets such
channels here by scaling some of them up and what reads them down.
"""

from __future__ import annotations

import keras
import numpy as np

from keras_vit.layers import EncoderBlock

SHARE = 0.04
"""Of the channels of each tensor that become outliers; at least one."""

FACTORS = (30.0, 100.0)
"""Outliers are drawn between these, evenly on a logarithmic scale."""


def scale_channels(model: keras.Model, seed: int = 0) -> keras.Model:
    """A copy that computes the same logits through channels that are 30 to 100 times too wide.

    In every block some channels are scaled up: of both layer normalisations (the following kernel's rows down), of
    the values (the projection's rows down) and of the queries (the same channels of the keys down).

    Args:
        model: functional, of `keras_vit.build`; pre-norm blocks with a fused, fully biased query, key and value
            projection and no rotary positions, as in vit, deit, dino or mae.
        seed: of the channels and their factors.

    Returns:
        A new model. In exact arithmetic its outputs are the model's.

    Raises:
        ValueError: the model has no such block.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    blocks = [layer for layer in copy.layers if isinstance(layer, EncoderBlock)]
    if not blocks or any(block.qkv_bias != "all" or block.rotary for block in blocks):
        raise ValueError(f"{model.name} has no plain encoder blocks, whose channels could be scaled: take a vit.")
    rng = np.random.default_rng(seed)
    for block in blocks:
        _scale_norm(block.norm1, block.attention.qkv, rng)
        _scale_norm(block.norm2, block.mlp.expand, rng)
        _scale_attention(block.attention, rng)
    return copy


def _factors(width: int, rng: np.random.Generator) -> np.ndarray:
    """(width,): mostly 1."""
    factors = np.ones(width, "float32")
    count = max(1, round(SHARE * width))
    factors[rng.choice(width, count, replace=False)] = np.exp(rng.uniform(*np.log(FACTORS), count))
    return factors


def _scale_norm(norm: keras.layers.Layer, reader: keras.layers.Dense, rng: np.random.Generator) -> None:
    factors = _factors(norm.gamma.shape[0], rng)
    norm.gamma.assign(norm.gamma * factors)
    norm.beta.assign(norm.beta * factors)
    reader.kernel.assign(reader.kernel / factors[:, None])


def _scale_attention(attention: keras.layers.Layer, rng: np.random.Generator) -> None:
    width = attention.projection.kernel.shape[0]
    query, value = _factors(width, rng), _factors(width, rng)
    columns = np.concatenate([query, 1 / query, value])
    attention.qkv.kernel.assign(attention.qkv.kernel * columns)
    attention.qkv.bias.assign(attention.qkv.bias * columns)
    attention.projection.kernel.assign(attention.projection.kernel / value[:, None])

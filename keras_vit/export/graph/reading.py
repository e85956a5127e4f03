"""From a Keras model of this package to the arrays that its export graph is made of."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np

from keras_vit.errors import InputError
from keras_vit.export.graph.network import (
    Attention,
    Block,
    Classifier,
    Linear,
    MapPooling,
    Network,
    Norm,
    Perceptron,
)
from keras_vit.export.graph.reduction import mean_head
from keras_vit.layers import (
    MLP,
    AttentionPooling,
    EncoderBlock,
    PatchEmbedding,
    PixelNormalization,
    PositionEmbedding,
    PrefixTokens,
    SelfAttention,
    TokenPooling,
)
from keras_vit.preprocessing import Preprocessing

KNOWN = (
    keras.layers.InputLayer,
    keras.layers.Dropout,
    keras.layers.LayerNormalization,
    keras.layers.Dense,
    keras.layers.Average,
    PixelNormalization,
    PatchEmbedding,
    PrefixTokens,
    PositionEmbedding,
    EncoderBlock,
    TokenPooling,
    AttentionPooling,
)


def read(model: keras.Model) -> Network:
    """The network that a classifier computes, in float32 whatever the precision of its layers.

    What comes right before the patch embedding, `(pixel / 255 - mean) / std`, is part of `patches`: both are linear.
    LayerScale is part of the maps before it. Dropout and stochastic depth are left out.

    Args:
        model: made by `keras_vit.build`, pixels (B, H, W, channels) -> logits (B, C).

    Raises:
        InputError: the model has a layer that this package did not put there; names it.
    """
    for layer in model.layers:
        if not isinstance(layer, KNOWN):
            raise InputError(
                f"The layer {layer.name!r} ({type(layer).__name__}) of the model {model.name!r} is not one of "
                "keras_vit.build's: export the model as it was built."
            )
    layers = {layer.name: layer for layer in model.layers}
    embedding = layers["patch_embedding"]
    prefix = [layers[name].tokens for name in ("class_token", "registers") if name in layers]
    prefix = np.concatenate([_array(tokens)[0] for tokens in prefix]) if prefix else np.zeros((0, embedding.width))
    height, width, channels = model.input_shape[1:]
    blocks = [layer for layer in model.layers if isinstance(layer, EncoderBlock)]
    return Network(
        name=model.name,
        image_size=(height, width),
        channels=channels,
        patch=embedding.patch_size,
        patches=_patches(embedding, next((x for x in model.layers if isinstance(x, PixelNormalization)), None)),
        start=_start(prefix, layers.get("position_embedding"), embedding.compute_output_shape(model.input_shape)[1]),
        prefix=len(prefix),
        patch_norm=_norm(layers["patch_norm"]) if "patch_norm" in layers else None,
        blocks=tuple(_block(block) for block in blocks),
        head=_classifier(layers, [layer.name for layer in model.layers]),
    )


def fold_normalization(linear: Linear, preprocessing: Preprocessing) -> Linear:
    """The map of a patch's pixels 0..255 that equals normalising them first.

    Args:
        linear: (patch * patch * channels, D), of normalised values, channels last.
        preprocessing: gives mean and std, per channel, in the range 0..1.
    """
    pixels = len(linear.kernel) // preprocessing.channels
    mean, std = (np.tile(np.asarray(v, "float64"), pixels) for v in (preprocessing.mean, preprocessing.std))
    return linear.after_affine(1 / (255.0 * std), -mean / std)


def _patches(embedding: PatchEmbedding, normalization: PixelNormalization | None) -> Linear:
    projection = embedding.projection
    kernel = _array(projection.kernel).reshape(-1, embedding.width)
    bias = _array(projection.bias) if projection.use_bias else np.zeros(embedding.width, "float32")
    linear = Linear(kernel, bias)
    return fold_normalization(linear, normalization.preprocessing) if normalization else linear


def _start(prefix: np.ndarray, positions: PositionEmbedding | None, patches: int) -> np.ndarray:
    start = np.concatenate([prefix, np.zeros((patches, prefix.shape[1]))]).astype("float32")
    if positions is not None:
        table = _array(positions.embedding)
        start[len(start) - len(table) :] += table
    return start


def _block(block: EncoderBlock) -> Block:
    attention, mlp = _attention(block.attention), _perceptron(block.mlp)
    if block.layer_scale is not None:
        scale1, scale2 = (_array(layer.gamma) for layer in (block.scale1, block.scale2))
        attention = replace(attention, projection=attention.projection.before_scale(scale1))
        mlp = replace(mlp, contract=mlp.contract.before_scale(scale2))
    metric = mean_head(attention.key, attention.num_heads) if block.merged else None
    return Block(_norm(block.norm1), attention, _norm(block.norm2), mlp, merge=block.merged, metric=metric)


def _attention(layer: SelfAttention) -> Attention:
    kernels = np.split(_array(layer.qkv.kernel), 3, axis=1)
    width = len(kernels[0])
    zero = np.zeros(width, "float32")
    if layer.qkv_bias == "all":
        biases = np.split(_array(layer.qkv.bias), 3)
    elif layer.qkv_bias == "query_value":
        biases = [_array(layer.query_bias), zero, _array(layer.value_bias)]
    else:
        biases = [zero] * 3
    query, key, value = (Linear(*pair) for pair in zip(kernels, biases, strict=True))
    return Attention(
        query,
        key,
        value,
        _linear(layer.projection),
        num_heads=layer.num_heads,
        scale=(width // layer.num_heads) ** -0.5,
        rotary=layer.tables,
        bias=_array(layer.bias.table).T[None][:, :, layer.bias.index] if layer.bias else None,
    )


def _perceptron(layer: MLP) -> Perceptron:
    expand, gate = _linear(layer.expand), None
    if layer.gated:
        (gate_kernel, kernel), (gate_bias, bias) = (np.split(a, 2, axis=-1) for a in (expand.kernel, expand.bias))
        gate, expand = Linear(gate_kernel, gate_bias), Linear(kernel, bias)
    norm = _norm(layer.norm) if layer.norm else None
    return Perceptron(expand, _linear(layer.contract), layer.activation, gate, norm)


def _classifier(layers: dict, order: list[str]) -> Classifier:
    pool, linear = layers["pool"], _linear(layers["head"])
    norm, norm_after = _norm(layers["norm"]), order.index("norm") > order.index("pool")
    if isinstance(pool, AttentionPooling):
        return Classifier("map", 0, norm, norm_after, linear, _map_pooling(pool))
    if "head_distilled" not in layers:
        return Classifier(pool.mode, 1, norm, norm_after, linear)
    # The mean of two classifiers of a token each is one classifier of both tokens side by side.
    other = _linear(layers["head_distilled"])
    kernel = np.concatenate([linear.kernel, other.kernel]) / 2
    return Classifier("token", 2, norm, norm_after, Linear(kernel, (linear.bias + other.bias) / 2))


def _map_pooling(pool: AttentionPooling) -> MapPooling:
    query = _linear(pool.query)
    probe = _array(pool.probe)[0].astype("float64") @ query.kernel + query.bias
    (key, value), (key_bias, value_bias) = (
        np.split(_array(a), 2, axis=-1) for a in (pool.key_value.kernel, pool.key_value.bias)
    )
    attention = Attention(
        query,
        Linear(key, key_bias),
        Linear(value, value_bias),
        _linear(pool.projection),
        num_heads=pool.num_heads,
        scale=(len(key) // pool.num_heads) ** -0.5,
    )
    return MapPooling(probe.astype("float32"), attention, _norm(pool.norm), _perceptron(pool.mlp))


def _linear(layer: keras.layers.Dense) -> Linear:
    return Linear(_array(layer.kernel), _array(layer.bias))


def _norm(layer: keras.layers.LayerNormalization) -> Norm:
    return Norm(layer.epsilon, _array(layer.gamma), _array(layer.beta))


def _array(variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable).astype("float32")

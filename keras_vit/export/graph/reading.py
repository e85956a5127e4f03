"""From a Keras model of this package to the arrays that its export graph is made of."""

from __future__ import annotations

import math
from dataclasses import replace

import keras
import numpy as np

from keras_vit.errors import InputError
from keras_vit.export.graph.network import (
    NORMALISED,
    Attention,
    Block,
    Classifier,
    Linear,
    MapPooling,
    Network,
    Norm,
    Perceptron,
    Tail,
)
from keras_vit.export.graph.reduction import mean_head
from keras_vit.export.graph.tail import in_trunk, read_tail
from keras_vit.layers import (
    MLP,
    AttentionPooling,
    EncoderBlock,
    PatchEmbedding,
    PixelNormalization,
    PositionEmbedding,
    SelfAttention,
    TokenPooling,
)
from keras_vit.preprocessing import Preprocessing

CLASSIFIER = (
    keras.layers.LayerNormalization,
    keras.layers.Dense,
    keras.layers.Average,
    TokenPooling,
    AttentionPooling,
)
"""Layers that follow the encoder of a classifier."""


def read(model: keras.Model) -> Network:
    """The network that a model computes, in float32 whatever the precision of its layers.

    What comes right before the patch embedding, `(pixel / 255 - mean) / std`, is part of `patches`: both are linear.
    LayerScale is part of the maps before it. Dropout and stochastic depth are left out. A classifier is read to its
    end; the layers of any other head are kept as they are.

    Args:
        model: made by `keras_vit.build`, pixels (B, H, W, channels) -> its task's outputs.

    Raises:
        InputError: the model has a layer that this package did not put there, where it would be rewritten; names it.
    """
    layers = {layer.name: layer for layer in model.layers}
    classifies = "pool" in layers
    for layer in model.layers:
        if not (in_trunk(layer) or not classifies or isinstance(layer, CLASSIFIER)):
            raise InputError(
                f"The layer {layer.name!r} ({type(layer).__name__}) of the model {model.name!r} is not one of "
                "keras_vit.build's: export the model as it was built."
            )
    embedding = layers["patch_embedding"]
    normalization = layers.get("normalize")
    prefix = [layers[name].tokens for name in ("class_token", "registers") if name in layers]
    prefix = np.concatenate([_array(tokens)[0] for tokens in prefix]) if prefix else np.zeros((0, embedding.width))
    height, width, channels = model.input_shape[1:]
    blocks = [layer for layer in model.layers if isinstance(layer, EncoderBlock)]
    filled = embedding.input.shape[1:3]
    start = _start(prefix, layers.get("position_embedding"), math.prod(side // embedding.patch_size for side in filled))
    if normalization and filled != (height, width):
        start[len(prefix) :] += _mean_colour(embedding, normalization.preprocessing, (height, width), filled)
    return Network(
        name=model.name,
        image_size=(height, width),
        fill=(filled[0] - height, filled[1] - width),
        channels=channels,
        patch=embedding.patch_size,
        patches=_patches(embedding, normalization),
        start=start,
        prefix=len(prefix),
        patch_norm=_norm(layers["patch_norm"]) if "patch_norm" in layers else None,
        blocks=tuple(_block(block) for block in blocks),
        head=_classifier(layers, [layer.name for layer in model.layers]) if classifies else _tail(model, layers),
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


def _mean_colour(
    embedding: PatchEmbedding, preprocessing: Preprocessing, size: tuple[int, int], filled: tuple[int, int]
) -> np.ndarray:
    """What filling up with the mean colour, which is 0 when normalised, adds to each patch (h * w, D) above filling up
    with pixels of value 0."""
    patch = embedding.patch_size
    beyond = np.ones((*filled, preprocessing.channels))
    beyond[: size[0], : size[1]] = 0
    rows, columns = (side // patch for side in filled)
    cut = beyond.reshape(rows, patch, columns, patch, -1).transpose(0, 2, 1, 3, 4).reshape(rows * columns, -1)
    mean, std = (np.tile(np.asarray(v, "float64"), patch * patch) for v in (preprocessing.mean, preprocessing.std))
    return (cut * (mean / std)) @ _array(embedding.projection.kernel).reshape(-1, embedding.width)


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
        windows=layer.windows,
    )


def _perceptron(layer: MLP) -> Perceptron:
    expand, gate = _linear(layer.expand), None
    if layer.gated:
        (gate_kernel, kernel), (gate_bias, bias) = (np.split(a, 2, axis=-1) for a in (expand.kernel, expand.bias))
        gate, expand = Linear(gate_kernel, gate_bias), Linear(kernel, bias)
    norm = _norm(layer.norm) if layer.norm else None
    return Perceptron(expand, _linear(layer.contract), layer.activation, gate, norm)


def _tail(model: keras.Model, layers: dict) -> Tail:
    tail, reads = read_tail(model)
    norms = [layer for layer in tail._flatten_layers() if isinstance(layer, keras.layers.LayerNormalization)]
    # Of other axes, or without a scale or a shift, they stay what Keras makes of them.
    plain = [n for n in norms if n.axis in (-1, [-1], (-1,)) and n.center and n.scale and not n.rms_scaling]
    inner = tuple((layer, _norm(layer)) for layer in plain)
    return Tail(tail, reads, _norm(layers["norm"]) if NORMALISED in reads else None, inner)


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

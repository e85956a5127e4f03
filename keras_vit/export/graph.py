"""The graph that is shipped: the model in float32, without what only training needs.

Rewrites that change how a model computes and not what it computes belong here, between the trained model and the
writers of the formats.
"""

from __future__ import annotations

import keras
import numpy as np

from keras_vit.layers import PatchEmbedding, PixelNormalization
from keras_vit.preprocessing import Preprocessing

OUTPUT = "probabilities"
"""Name of the one output of every exported file."""


def float32_copy(model: keras.Model) -> keras.Model:
    """The same network and weights, computing in float32 whatever the precision of training was.

    Args:
        model: functional.

    Returns:
        A new model with the same layer names, inputs and outputs.
    """
    copy = _clone(model, folded=False)
    _copy_weights(model, copy)
    return copy


def export_graph(model: keras.Model) -> keras.Model:
    """The inference form of a classifier: float32, normalisation folded into the patches, probabilities.

    The patch embedding is linear and comes right after `(pixel / 255 - mean) / std`, so that both are one convolution
    of the pixels, exactly; one with a bias, also where the patches had none (CLIP). A model without a normalisation
    layer keeps its patch embedding as it is.

    Args:
        model: functional, (B, H, W, channels) -> logits (B, C).

    Returns:
        A new model from pixels 0..255, float32 (B, H, W, channels), or normalised values where the model has no
        normalisation layer, to class probabilities (B, C): the softmax of the logits, the layer `probabilities`.
    """
    normalization, patches = (_first(model, kind) for kind in (PixelNormalization, PatchEmbedding))
    if normalization is None or patches is None:
        copy = float32_copy(model)
    else:
        copy = _clone(model, folded=True)
        _copy_weights(model, copy, but=patches.name)
        folded = fold_normalization(*patches.projection.get_weights(), preprocessing=normalization.preprocessing)
        copy.get_layer(patches.name).projection.set_weights(folded)
    outputs = keras.layers.Activation("softmax", dtype="float32", name=OUTPUT)(copy.output)
    return keras.Model(copy.input, outputs, name=model.name)


def fold_normalization(
    kernel: np.ndarray, bias: np.ndarray | float = 0.0, *, preprocessing: Preprocessing
) -> tuple[np.ndarray, np.ndarray]:
    """The convolution of pixels 0..255 that equals normalising them first.

    Args:
        kernel: (patch, patch, channels, D), for normalised values.
        bias: (D,), or 0 where the patches have none.
        preprocessing: gives mean and std, per channel, in the range 0..1.

    Returns:
        Kernel `kernel / (255 std)` and bias `bias - sum(kernel mean / std)`, float32; the sums are in float64.
    """
    mean, std = (np.asarray(v, "float64")[:, None] for v in (preprocessing.mean, preprocessing.std))
    kernel = kernel.astype("float64")
    shift = np.sum(kernel * (mean / std), axis=(0, 1, 2))
    return (kernel / (255.0 * std)).astype("float32"), (bias - shift).astype("float32")


def _clone(model: keras.Model, *, folded: bool) -> keras.Model:
    """The same graph in float32 with fresh weights; if folded, without normalisation but with a bias of the patches."""

    # Weights are copied next, so nothing needs to be drawn.
    changes = {"dtype": "float32", "init": "zeros"}

    def copy(layer):
        config = layer.get_config()
        config |= {name: value for name, value in changes.items() if name in config}
        if folded and isinstance(layer, PatchEmbedding):
            config["use_bias"] = True
        return type(layer).from_config(config)

    def call(layer, *args, **kwargs):
        return args[0] if folded and isinstance(layer, PixelNormalization) else layer(*args, **kwargs)

    return keras.models.clone_model(model, clone_function=copy, call_function=call)


def _copy_weights(source: keras.Model, target: keras.Model, but: str | None = None) -> None:
    for layer in target.layers:
        if layer.name != but:
            layer.set_weights(source.get_layer(layer.name).get_weights())


def _first(model: keras.Model, kind: type) -> keras.layers.Layer | None:
    return next((layer for layer in model.layers if isinstance(layer, kind)), None)

"""Layer-wise learning rates: early layers of a pretrained encoder learn more slowly, a fresh head faster."""

from __future__ import annotations

import keras

from keras_vit.encoder import EMBEDDING_LAYERS
from keras_vit.heads import HEAD_LAYERS
from keras_vit.layers import EncoderBlock


def rate_scales(model: keras.Model, layer_decay: float, head_rate: float) -> list[float]:
    """A factor of the learning rate for each trainable variable, in the order of `model.trainable_variables`.

    The embeddings are layer 0, block i is layer i + 1, and what follows is the last; a layer's factor is `layer_decay`
    to the power of its distance from the last one (Clark et al., 2020; Bao et al., 2022).

    Args:
        model: made by `keras_vit.build`, with its final `trainable` flags.
        layer_decay: at most 1, which treats all alike.
        head_rate: a further factor of the head's layers.
    """
    blocks = [layer for layer in model.layers if isinstance(layer, EncoderBlock)]
    levels = dict.fromkeys(EMBEDDING_LAYERS, 0) | {block.name: i for i, block in enumerate(blocks, start=1)}
    last = len(blocks) + 1
    factors = {}
    for layer in model.layers:
        factor = layer_decay ** (last - levels.get(layer.name, last)) * (head_rate if layer.name in HEAD_LAYERS else 1)
        factors |= {id(variable): factor for variable in layer.trainable_variables}
    return [factors[id(variable)] for variable in model.trainable_variables]

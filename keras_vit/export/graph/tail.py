"""What of a model is its encoder, and what follows it."""

from __future__ import annotations

import keras

from keras_vit.encoder import EMBEDDING_LAYERS
from keras_vit.errors import InputError
from keras_vit.export.graph.float32 import float32_copy
from keras_vit.export.graph.network import NORMALISED
from keras_vit.layers import EncoderBlock

TRUNK = ("image", "normalize", "fill", *EMBEDDING_LAYERS, "embedding_dropout")
"""Names of the layers before the first block."""


def in_trunk(layer: keras.layers.Layer) -> bool:
    """Whether a layer of a model is one of those before its head; the last normalisation counts to the head."""
    return layer.name in TRUNK or isinstance(layer, EncoderBlock)


def read_tail(model: keras.Model) -> tuple[keras.Model, tuple[int, ...]]:
    """What follows the encoder, as a model of its own.

    Args:
        model: made by `keras_vit.build`.

    Returns:
        A float32 model from the tokens that the head reads to the model's outputs; and for each of its inputs the
        block that gives it, or `NORMALISED`.

    Raises:
        InputError: the head reads something else than blocks and their normalisation.
    """
    if any(layer.compute_dtype != "float32" for layer in model.layers):
        # Its tokens would be rounded on their way into the head.
        model = float32_copy(model)
    blocks = [layer for layer in model.layers if isinstance(layer, EncoderBlock)]
    given = {_key(block.output): index for index, block in enumerate(blocks)}
    head = [layer for layer in model.layers if not in_trunk(layer)]
    for layer in head:
        if layer.name == "norm":
            given[_key(layer.output)] = NORMALISED
    made = {_key(tensor) for layer in head for tensor in keras.tree.flatten(layer.output)}
    reads: dict[int, keras.KerasTensor] = {}
    for layer in head:
        for tensor in keras.tree.flatten(layer.input) if layer.name != "norm" else ():
            key = _key(tensor)
            if key in given:
                reads[given[key]] = tensor
            elif key not in made:
                raise InputError(
                    f"The layer {layer.name!r} of the model {model.name!r} reads something else than its blocks' "
                    "tokens, which an exported file does not keep: let it read tokens."
                )
    tail = keras.Model(list(reads.values()), model.output, name="tail")
    return float32_copy(tail), tuple(reads)


def _key(tensor) -> int:
    """Of a symbolic tensor; of what a block that merges gives, its tokens."""
    return id(tensor[0] if isinstance(tensor, (list, tuple)) else tensor)

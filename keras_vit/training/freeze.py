"""Which layers learn."""

from __future__ import annotations

import keras

from keras_vit.errors import InputError
from keras_vit.heads import HEAD_LAYERS
from keras_vit.layers import EncoderBlock


def freeze(model: keras.Model, what: str | int) -> None:
    """Sets the `trainable` flags of a model's layers.

    Args:
        model: made by `keras_vit.build`.
        what: `"none"`; `"backbone"`: only pooling and head learn; n: the embeddings and all but the last n blocks
            are frozen.

    Raises:
        InputError: another word, or more blocks than the model has.
    """
    blocks = [layer.name for layer in model.layers if isinstance(layer, EncoderBlock)]
    if what == "none":
        learning = [layer.name for layer in model.layers]
    elif what == "backbone":
        learning = list(HEAD_LAYERS)
    elif isinstance(what, int) and 0 <= what <= len(blocks):
        learning = [*blocks[len(blocks) - what :], "norm", *HEAD_LAYERS]
    else:
        raise InputError(f"freeze is none, backbone or a number of blocks up to {len(blocks)}, not {what!r}.")
    for layer in model.layers:
        layer.trainable = layer.name in learning

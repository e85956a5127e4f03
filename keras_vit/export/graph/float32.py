"""The same Keras model in full precision: what the files are compared with."""

from __future__ import annotations

import keras


def float32_copy(model: keras.Model) -> keras.Model:
    """The same network and weights, computing in float32 whatever the precision of training was.

    Args:
        model: functional.

    Returns:
        A new model with the same layer names, inputs and outputs.
    """
    # Weights are copied next, so nothing needs to be drawn.
    changes = {"dtype": "float32", "init": "zeros"}

    def copy(layer):
        config = layer.get_config()
        return type(layer).from_config(config | {name: value for name, value in changes.items() if name in config})

    clone = keras.models.clone_model(model, clone_function=copy)
    for layer in clone.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    return clone

"""Which Keras backend is at work: layers and models run on all, the rest of the product on TensorFlow."""

from __future__ import annotations

import keras

from keras_vit.errors import InputError


def require_tensorflow(what: str) -> None:
    """Refuses to go on under another backend.

    Args:
        what: the thing that needs TensorFlow, as the subject of the error's sentence.

    Raises:
        InputError: Keras runs on another backend.
    """
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"{what} needs Keras on TensorFlow, not on {keras.backend.backend()}: set KERAS_BACKEND=tensorflow."
        )

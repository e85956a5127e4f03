"""`.keras` models of this package, whose arrays have our own names."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from keras_vit.errors import InputError
from keras_vit.weights.architecture import describe
from keras_vit.weights.formats.checkpoint import Checkpoint, metadata_of


def open_keras(path: Path) -> Checkpoint:
    """Loads a model in safe mode, which executes no code of the file.

    Raises:
        InputError: it is no `.keras` model of this package.
    """
    try:
        source = keras.saving.load_model(path, compile=False)
        architecture = describe(source)
    except (ValueError, OSError, TypeError, KeyError, AttributeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{path} is not a readable .keras model of this package ({reason}).") from None
    arrays = {variable.path: variable for variable in source.weights}
    return Checkpoint(
        path,
        {name: tuple(variable.shape) for name, variable in arrays.items()},
        lambda name: np.asarray(arrays[name]),
        metadata_of(architecture.preprocessing, architecture.image_size, architecture.variant.family.activation),
    )

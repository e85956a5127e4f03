"""The moving average of the weights, put in place while a model is validated or saved."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import numpy as np


@contextlib.contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Inside, the model has its averaged weights; afterwards its own again, bit for bit.

    A model whose optimizer keeps no average is left alone. (Keras's SwapEMAWeights swaps by additions, which loses
    the last bits of the weights at every validation.)
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not optimizer.use_ema:
        yield
        return
    own = [np.asarray(variable) for variable in model.trainable_variables]
    for variable, average in zip(model.trainable_variables, optimizer._model_variables_moving_average, strict=True):
        variable.assign(average)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, own, strict=True):
            variable.assign(value)


class ValidateAverage(keras.callbacks.Callback):
    """Lets `fit` validate the averaged weights."""

    def on_test_begin(self, logs=None):
        """Puts the average in place."""
        self._swap = averaged(self.model)
        self._swap.__enter__()

    def on_test_end(self, logs=None):
        """Puts the trained weights back."""
        self._swap.__exit__(None, None, None)

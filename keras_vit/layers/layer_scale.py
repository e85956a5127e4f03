"""LayerScale: a learned factor for every channel of a residual branch."""

from __future__ import annotations

import keras
from keras import ops

from keras_vit.layers.base import ViTLayer


@keras.saving.register_keras_serializable(package="keras_vit")
class LayerScale(ViTLayer):
    """Multiplies each channel by a learned factor that starts small (Touvron et al., "Going deeper", 2021).

    Args:
        initial: the factors' first value.

    Shapes: (..., D), unchanged.
    """

    def __init__(self, initial: float, **kwargs):
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, input_shape):
        """Creates the factors, shape (D,)."""
        initializer = keras.initializers.Constant(self.initial)
        self.gamma = self.add_weight(shape=(input_shape[-1],), initializer=initializer, name="gamma")

    def call(self, branch):
        """(..., D) -> (..., D)."""
        return ops.multiply(branch, ops.cast(self.gamma, branch.dtype))

    def compute_output_shape(self, input_shape):
        """The shape does not change."""
        return input_shape

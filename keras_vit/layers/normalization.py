"""The layer normalisation of encoder blocks."""

from __future__ import annotations

import keras

from keras_vit.layers import fused


@keras.saving.register_keras_serializable(package="keras_vit")
class LayerNorm(keras.layers.LayerNormalization):
    """Keras's layer normalisation of the last axis, with a fused gradient while training on TensorFlow.

    Shapes: (..., D), unchanged.
    """

    def call(self, inputs, training=None):
        """(..., D) -> (..., D)."""
        if not fused.trains_on_tensorflow(training):
            return super().call(inputs)
        return fused.layer_normalization(inputs, self.gamma, self.beta, self.epsilon, self.compute_dtype)

"""The dense layer of encoder blocks."""

from __future__ import annotations

import keras

from keras_vit.layers import fused


@keras.saving.register_keras_serializable(package="keras_vit")
class Dense(keras.layers.Dense):
    """Keras's dense layer, with a faster gradient while training on TensorFlow.

    Shapes: (B, ..., K) -> (B, ..., units).
    """

    def call(self, inputs, training=None):
        """(B, ..., K) -> (B, ..., units)."""
        plain = self.bias is None or self.activation is not keras.activations.linear
        if plain or not fused.trains_on_tensorflow(training):
            return super().call(inputs)
        return fused.dense(inputs, self.kernel, self.bias)

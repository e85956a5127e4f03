"""Pixel normalisation as the first layer of a model, carrying the whole preprocessing record."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_vit.layers.base import ViTLayer
from keras_vit.preprocessing import Preprocessing


@keras.saving.register_keras_serializable(package="keras_vit")
class PixelNormalization(ViTLayer):
    """Maps pixels 0..255 to `(pixel / 255 - mean) / std`, per channel.

    The layer's config is the preprocessing record, so a saved model says by itself how its images were prepared.
    It always computes in float32: bfloat16 would round pixel values that resizing or augmentation made fractional.

    Args:
        preprocessing: the record, or its `to_dict()` form.

    Shapes: (B, H, W, channels) pixels in, the same shape out.
    """

    def __init__(self, preprocessing: Preprocessing | dict, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        if isinstance(preprocessing, dict):
            preprocessing = Preprocessing(**preprocessing)
        self.preprocessing = preprocessing
        std = np.asarray(preprocessing.std, "float32")
        self._scale = 1.0 / (255.0 * std)
        self._shift = -np.asarray(preprocessing.mean, "float32") / std
        self.built = True

    def call(self, pixels):
        """(B, H, W, channels) pixels 0..255 -> normalised float32 of the same shape."""
        return ops.add(ops.multiply(pixels, self._scale), self._shift)

    def compute_output_shape(self, input_shape):
        """The shape does not change."""
        return input_shape

    def get_config(self):
        """The record, as plain data."""
        return {**super().get_config(), "preprocessing": self.preprocessing.to_dict()}

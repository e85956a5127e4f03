"""The linear head: each patch token classified by itself."""

from __future__ import annotations

import keras

from keras_vit.heads.dense import settings_of
from keras_vit.heads.given import Given
from keras_vit.heads.segmentation.base import SegmentationHead


@keras.saving.register_keras_serializable(package="keras_vit")
class LinearSegmentation(SegmentationHead):
    """One linear layer on the normalised tokens (Strudel et al., 2021; the probe of Oquab et al., 2024)."""

    def build(self, input_shape):
        """Creates the linear layer."""
        self.classify = self.classifier()
        self.classify.build(self.map_shape(input_shape))

    def call(self, tokens):
        """(B, N, D) -> (B, H, W, C)."""
        return self.at_image_size(self.classify(self.to_map(tokens)), self.patch_size)


def linear_segmentation(given: Given):
    """Logits (B, H, W, C) by one linear layer on each token; the encoder's last normalisation comes before it.

    Raises:
        InputError: no classes, or merged tokens.
    """
    return LinearSegmentation(**settings_of(given))(given.encoded.tokens)

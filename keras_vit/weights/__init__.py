"""Weights from files into models, and back."""

from keras_vit.weights.load import load
from keras_vit.weights.save import save

__all__ = ["load", "save"]

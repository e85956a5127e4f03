"""Weights from files into models."""

from keras_vit.weights.load import load

__all__ = ["load"]

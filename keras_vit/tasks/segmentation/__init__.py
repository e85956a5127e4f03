"""Segmentation: a class for every pixel."""

from keras_vit.tasks.segmentation.task import Segmentation

__all__ = ["Segmentation"]

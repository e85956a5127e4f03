"""Detection: boxes around objects, with their classes."""

from keras_vit.tasks.detection.task import Detection

__all__ = ["Detection"]

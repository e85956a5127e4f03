"""From encoder tokens to outputs, one head a task."""

from keras_vit.heads.classification import classification_head

HEADS = {"classification": classification_head}
"""Task name -> the function that puts its head on the encoder's tokens."""

__all__ = ["HEADS", "classification_head"]

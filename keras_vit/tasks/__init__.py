"""A task is one object: loss, metrics, figures and pictures."""

from keras_vit.tasks.classification import Classification

TASKS = {"classification": Classification}
"""Task name -> its class, made with the class names of the data."""

__all__ = ["TASKS", "Classification"]

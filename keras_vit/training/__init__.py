"""Training: a recipe in, a run folder out."""

from keras_vit.training.recipe import Recipe
from keras_vit.training.run import Run, load_run
from keras_vit.training.train import train

__all__ = ["Recipe", "Run", "load_run", "train"]

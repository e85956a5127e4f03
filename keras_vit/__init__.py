"""Vision Transformers for Keras 3: train with `fit`, ship one file, and be told what shipping cost.

import keras_vit
model = keras_vit.build("vit_b16", num_classes=1000)
"""

from __future__ import annotations

import importlib

from keras_vit import layers
from keras_vit.build import build, preprocessing_of
from keras_vit.errors import InputError
from keras_vit.features import features
from keras_vit.preprocessing import Preprocessing
from keras_vit.variants import list_models
from keras_vit.version import __version__

_LAZY = {
    "Recipe": "keras_vit.training",
    "Run": "keras_vit.training",
    "load_run": "keras_vit.training",
    "train": "keras_vit.training",
    "attention": "keras_vit.explain",
    "evaluate": "keras_vit.tasks",
    "list_weights": "keras_vit.weights.catalogue",
    "data": None,
    "demo": None,
    "evaluation": None,
    "explain": None,
    "export": None,
    "probing": None,
    "search": None,
    "tasks": None,
    "training": None,
    "weights": None,
}
"""Public names whose rooms load TensorFlow, scikit-learn or matplotlib: imported when they are first used."""

__all__ = [
    "InputError",
    "Preprocessing",
    "__version__",
    "build",
    "features",
    "layers",
    "list_models",
    "preprocessing_of",
    *_LAZY,
]


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module 'keras_vit' has no attribute {name!r}")
    home = _LAZY[name]
    if home is None:
        return importlib.import_module(f"keras_vit.{name}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__():
    return __all__

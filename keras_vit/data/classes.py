"""Labels of one data set in the class order of a model that was trained on another."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_vit.data.examples import Data
from keras_vit.data.labels import renumbered
from keras_vit.errors import InputError, suggest


def align(data: Data, class_names: Sequence[str]) -> Data:
    """The same data, its labels renumbered to a model's classes by name.

    Args:
        data: any data set whose classes are among the model's.
        class_names: of the model, in order.

    Raises:
        InputError: a class that the model does not know.
    """
    order = {name: index for index, name in enumerate(class_names)}
    for name in data.class_names:
        if name not in order:
            raise InputError(f"The data has a class {name!r} that the model was not trained on: {suggest(name, order)}")
    lookup = np.array([order[name] for name in data.class_names])
    splits = {
        split: dataclasses.replace(examples, labels=renumbered(examples.labels, lookup))
        for split, examples in data.splits.items()
    }
    return dataclasses.replace(data, class_names=list(class_names), **splits)

"""An exported file judged on a split, with the figures and pictures that a run is judged with."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.progress import track

from keras_vit.data import Examples, eval_dataset
from keras_vit.errors import InputError
from keras_vit.evaluation import Assessment
from keras_vit.evaluation.assess import judge
from keras_vit.export.predictor import Predictor

SMALLEST = 1e-7
"""What a probability of 0 counts as: quantised files round to 0, and the logarithm has to stay finite."""


def file_logits(predictor: Predictor, examples: Examples, *, batch_size: int = 64, progress: bool = True) -> np.ndarray:
    """Logarithms of the probabilities (n, C) of every example, in order: the logits, up to a number per image.

    Raises:
        InputError: the file has no preprocessing record.
    """
    dataset = eval_dataset(examples, predictor.record(), num_classes=len(predictor.class_names), batch_size=batch_size)
    console = Console(stderr=True)
    silent = not (progress and console.is_terminal)
    batches = -(-len(examples) // batch_size)
    shown = track(dataset, "predicting", total=batches, console=console, transient=True, disable=silent)
    probabilities = np.concatenate([predictor.predict(images.numpy()) for images, _ in shown])
    return np.log(np.maximum(probabilities, SMALLEST))


def evaluate_file(
    predictor: Predictor, examples: Examples, *, batch_size: int = 64, progress: bool = True
) -> Assessment:
    """Judges an exported file on labelled examples.

    Args:
        predictor: what `load` returns.
        examples: one split of the data, labelled in the order of the file's classes.
        batch_size: images decoded at a time.
        progress: show a bar.

    Raises:
        InputError: no examples, labels outside the file's classes, or no preprocessing record.
    """
    if not len(examples):
        raise InputError("There are no images to evaluate on: check the data and the split.")
    logits = file_logits(predictor, examples, batch_size=batch_size, progress=progress)
    return judge(logits, examples, predictor.class_names, predictor.record())

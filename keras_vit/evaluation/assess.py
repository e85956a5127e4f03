"""Runs a classifier over a split and judges it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.progress import track

from keras_vit.build import preprocessing_of
from keras_vit.data import Examples, eval_dataset
from keras_vit.errors import InputError
from keras_vit.evaluation.figures import classification_figures, confusion, per_class
from keras_vit.evaluation.mistakes import verdicts, worst_mistakes
from keras_vit.evaluation.pictures import confusion_figure, contact_sheet, to_png
from keras_vit.files import write_bytes, write_text
from keras_vit.preprocessing import Preprocessing


@dataclass(frozen=True)
class Assessment:
    """What a split says about a classifier.

    Attributes:
        figures: `top1 top5 loss ece n`, as fractions.
        per_class: a row a class: name, precision, recall, f1, support.
        confusion: (C, C) counts, truth by prediction.
        logits: (n, C).
        pictures: name -> PNG: `confusion`, and `mistakes` where there are any.
    """

    figures: dict[str, float | int]
    per_class: list[dict]
    confusion: np.ndarray
    logits: np.ndarray
    pictures: dict[str, bytes]

    def save(self, folder: Path, split: str) -> list[Path]:
        """Writes the pictures and `per_class.json` as `<split>_*`, and says where."""
        paths = [folder / f"{split}_{name}.png" for name in self.pictures]
        for path, png in zip(paths, self.pictures.values(), strict=True):
            write_bytes(path, png)
        table = folder / f"{split}_per_class.json"
        write_text(table, json.dumps(self.per_class, indent=1))
        return [*paths, table]


def predict_logits(
    model: keras.Model, examples: Examples, *, batch_size: int = 64, progress: bool = True
) -> np.ndarray:
    """Logits (n, C) of every example, in order, batch by batch."""
    num_classes = model.output_shape[-1]
    dataset = eval_dataset(examples, preprocessing_of(model), num_classes=num_classes, batch_size=batch_size)
    batches = -(-len(examples) // batch_size)
    console = Console(stderr=True)
    silent = not (progress and console.is_terminal)
    shown = track(dataset, "predicting", total=batches, console=console, transient=True, disable=silent)
    return np.concatenate([model.predict_on_batch(images) for images, _ in shown])


def evaluate(
    model: keras.Model,
    examples: Examples,
    class_names: Sequence[str],
    *,
    batch_size: int = 64,
    mistakes: int = 24,
    progress: bool = True,
) -> Assessment:
    """Judges a classifier on labelled examples.

    Args:
        model: made by this package; takes pixels 0..255.
        examples: one split of the data.
        class_names: of the model's outputs, in order.
        batch_size: images at a time.
        mistakes: how many of the most confident mistakes are drawn.
        progress: show a bar.

    Raises:
        InputError: no examples, labels outside the model's classes, or another number of names than outputs.
    """
    if not len(examples):
        raise InputError("There are no images to evaluate on: check the data and the split.")
    logits = predict_logits(model, examples, batch_size=batch_size, progress=progress)
    return judge(logits, examples, class_names, preprocessing_of(model), mistakes=mistakes)


def judge(
    logits: np.ndarray,
    examples: Examples,
    class_names: Sequence[str],
    preprocessing: Preprocessing,
    *,
    mistakes: int = 24,
) -> Assessment:
    """Figures and pictures of what a classifier said.

    Args:
        logits: (n, C).
        examples: n of them, labelled.
        class_names: C names.
        preprocessing: how the classifier was shown the images.
        mistakes: how many of the most confident mistakes are drawn.

    Raises:
        InputError: labels outside the classes, or another number of names than logits.
    """
    labels, names = examples.labels, list(class_names)
    figures = classification_figures(logits, labels, names)
    matrix = confusion(logits, labels)
    pictures = {"confusion": to_png(confusion_figure(matrix, names))}
    worst = worst_mistakes(logits, labels, mistakes)
    if len(worst):
        titles, colours = verdicts(logits[worst], labels[worst], names)
        batches = eval_dataset(examples.subset(worst), preprocessing, num_classes=len(names), batch_size=len(worst))
        (shown,) = (np.asarray(images).astype("uint8") for images, _ in batches)
        pictures["mistakes"] = to_png(contact_sheet(shown, titles, columns=6, colours=colours))
    return Assessment(figures, per_class(logits, labels, names), matrix, logits, pictures)

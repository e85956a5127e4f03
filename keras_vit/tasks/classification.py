"""The classification task: its loss, its metrics, and how its outputs are judged and drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import keras
import numpy as np

from keras_vit import evaluation
from keras_vit.data import Examples, image_dataset
from keras_vit.data.kinds import CLASSES, LabelKind
from keras_vit.errors import InputError
from keras_vit.evaluation.assessment import Assessment
from keras_vit.preprocessing import Preprocessing
from keras_vit.tasks.explaining import Presented
from keras_vit.tasks.shipping import SMALLEST
from keras_vit.tasks.task import Task, pixels

MISTAKES = 24
"""So many of the most confident mistakes are drawn."""


@dataclass(frozen=True)
class Classification(Task):
    """One label an image.

    Outputs are logits (B, C); targets are one-hot or mixed (B, C); a prediction is the logits (C,) of an image.
    """

    labels: ClassVar[LabelKind] = CLASSES
    goals: ClassVar[Mapping] = {"val_top1": max, "val_top5": max, "val_loss": min}

    def loss(self, model: keras.Model, examples: Examples, label_smoothing: float | None = None) -> keras.losses.Loss:
        """Cross-entropy from logits, its labels smoothed by 0.1 unless told otherwise."""
        smoothing = 0.1 if label_smoothing is None else label_smoothing
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)

    def metrics(self) -> list[keras.metrics.Metric]:
        """`top1`, and `top5` where there are more than five classes."""
        metrics = [keras.metrics.CategoricalAccuracy(name="top1")]
        if len(self.class_names) > 5:
            metrics.append(keras.metrics.TopKCategoricalAccuracy(k=5, name="top5"))
        return metrics

    def of_file(self, outputs: np.ndarray) -> np.ndarray:
        """Logarithms of a file's probabilities (n, C): the logits, up to a number per image."""
        return np.log(np.maximum(outputs, SMALLEST))

    def check(self, model: keras.Model, examples: Examples) -> None:
        """As of every task; labels are numbers of classes.

        Raises:
            InputError: see `Task.check`.
        """
        if len(model.output_shape) != 2 or "head" not in {layer.name for layer in model.layers}:
            raise InputError(
                f"The model {model.name!r} gives no class logits: export one built with num_classes above 0."
            )
        super().check(model, examples)
        classes = len(self.class_names)
        if len(examples) and examples.labels.max() >= classes:
            raise InputError(
                f"The validation images have the label {examples.labels.max()}, but the model has {classes} classes, "
                "counted from 0: give images labelled like those it was trained on."
            )

    def score(self, outputs: np.ndarray, examples: Examples, preprocessing: Preprocessing) -> float:
        """Top-1 accuracy."""
        return float((np.asarray(outputs).argmax(-1) == examples.labels).mean())

    def judge(self, predictions: Iterable[np.ndarray], examples: Examples, preprocessing: Preprocessing) -> Assessment:
        """`top1 top5 loss ece n`, precision and recall per class, the confusion matrix and the worst mistakes.

        Raises:
            InputError: labels outside the classes, or another number of names than logits.
        """
        logits, labels, names = np.stack(list(predictions)), examples.labels, self.class_names
        figures = evaluation.classification_figures(logits, labels, names)
        matrix = evaluation.confusion(logits, labels)
        pictures = {"confusion": evaluation.to_png(evaluation.confusion_figure(matrix, names))}
        worst = evaluation.worst_mistakes(logits, labels, MISTAKES)
        if len(worst):
            titles, colours = evaluation.verdicts(logits[worst], labels[worst], names)
            (views,) = image_dataset(examples.subset(worst), preprocessing, batch_size=len(worst))
            sheet = evaluation.contact_sheet(pixels(views), titles, columns=6, colours=colours)
            pictures["mistakes"] = evaluation.to_png(sheet)
        order = evaluation.from_worst(logits, labels)
        return Assessment(figures, evaluation.per_class(logits, labels, names), pictures, order)

    def kind(self, examples: Examples, index: int) -> str:
        """Its class."""
        return self.class_names[examples.labels[index]]

    def present(
        self, image: np.ndarray, prediction: np.ndarray, examples: Examples, index: int, side: int
    ) -> Presented:
        """The photo; what speaks for the class that it was taken for, and of a mistake for the true one."""
        classes = dict.fromkeys((int(prediction.argmax()), int(examples.labels[index])))
        asked = {f"for {self.class_names[c]}": c for c in classes}
        return Presented({"photo": evaluation.sized(image, side)}, asked)

    def draw(self, images: np.ndarray, outputs: np.ndarray, targets: np.ndarray, columns: int = 6):
        """What was predicted stands above each image, and the truth where it differs."""
        titles, colours = evaluation.verdicts(outputs, targets.argmax(-1), self.class_names)
        return evaluation.contact_sheet(pixels(images), titles, columns=columns, colours=colours)

    def draw_targets(self, images: np.ndarray, targets: np.ndarray, columns: int = 6):
        """The labels (n, C) that mixing gave an image stand above it."""
        return evaluation.contact_sheet(pixels(images), [self._share(row) for row in targets], columns=columns)

    def overlay(self, image: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """The image under its likeliest classes."""
        best = evaluation.predictions_table(prediction[None], self.class_names, [""], top=2)[0]["top"]
        title = "\n".join(f"{guess['name']} {guess['probability']:.1%}" for guess in best)
        return evaluation.to_array(evaluation.contact_sheet([image], [title], columns=1))

    def describe(self, prediction: np.ndarray, file: str, top: int) -> dict:
        """`{"file", "top": [{"name", "probability"}, ...]}`, the likeliest class first."""
        return evaluation.predictions_table(prediction[None], self.class_names, [file], top=top)[0]

    def verdict(self, prediction: np.ndarray, examples: Examples | None = None, index: int = 0) -> tuple[str, str]:
        """The likeliest class, in the colour of right or wrong where the truth is known, see `evaluation.verdicts`."""
        known = examples is not None and examples.labels[index] >= 0
        label = examples.labels[index] if known else prediction.argmax()
        (words,), (colour,) = evaluation.verdicts(prediction[None], np.array([label]), self.class_names)
        return words, colour if known else "black"

    def records(self, row: Mapping) -> list[dict]:
        """One record: `file`, then class and probability of each rank."""
        record = {"file": row["file"]}
        for rank, guess in enumerate(row["top"], start=1):
            record |= {f"class{rank}": guess["name"], f"probability{rank}": f"{guess['probability']:.6f}"}
        return [record]

    def _share(self, target: Sequence[float]) -> str:
        parts = [(share, self.class_names[index]) for index, share in enumerate(target) if share > 0.01]
        if len(parts) == 1:
            return parts[0][1]
        return "\n".join(f"{name} {share:.0%}" for share, name in sorted(parts, reverse=True)[:2])

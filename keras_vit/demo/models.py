"""Who can answer: a run's own model, and every file that was exported from it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from keras_vit.export.formats import FORMATS
from keras_vit.export.predictor import Predictor
from keras_vit.export.runners.harness import side_by_side
from keras_vit.preprocessing import Preprocessing
from keras_vit.tasks import Task, outputs_of

if TYPE_CHECKING:
    from keras_vit.training.run import Run


@dataclass(frozen=True)
class Answering:
    """A model that answers, wherever it came from.

    Attributes:
        task: what it was trained for.
        preprocessing: how images are prepared for it.
        call: pixels (B, H, W, channels) -> what it gives, of which the time is taken.
        outputs: what it gave -> what the Keras model gives.
        shipped: what it gave -> what an exported file gives.
    """

    task: Task
    preprocessing: Preprocessing
    call: Callable[[np.ndarray], np.ndarray]
    outputs: Callable[[np.ndarray], np.ndarray]
    shipped: Callable[[np.ndarray], np.ndarray]

    def comparable(self, other: Answering) -> bool:
        """Whether both take the same pixels and know the same classes."""
        return (self.preprocessing, self.task.class_names) == (other.preprocessing, other.task.class_names)


def of_run(run: Run) -> Answering:
    """A run's own model."""
    task = run.task
    return Answering(
        task, run.preprocessing, outputs_of(run.model), _same, lambda given: side_by_side(task.shipped(_tensor(given)))
    )


def of_file(predictor: Predictor) -> Answering:
    """An exported file.

    Raises:
        InputError: nothing says what it was trained for, or how images are prepared for it.
    """
    task = predictor.task
    return Answering(task, predictor.record(), predictor.predict, task.of_file, _same)


def _same(given: np.ndarray) -> np.ndarray:
    return given


def _tensor(given: np.ndarray) -> tf.Tensor:
    return tf.constant(given, tf.float32)


class Watched:
    """A model as the task calls it; notes what it was shown, what it gave, and how long that took.

    Attributes:
        views: images at the model's size, in the order that they were shown.
        given: what the model gave for each.
        milliseconds: of all calls together.
    """

    def __init__(self, model: Answering):
        self.model = model
        self.views: list[np.ndarray] = []
        self.given: list[np.ndarray] = []
        self.milliseconds = 0.0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        given = self.model.call(images)
        self.milliseconds += 1000 * (time.perf_counter() - start)
        self.views += list(images)
        self.given += list(given)
        return self.model.outputs(given)


def fastest_float(folder: Path, names: Collection[str]) -> str | None:
    """The float file that answered fastest when it was exported; the first in the table of formats where nobody knows.

    Args:
        folder: of the exported files and their `report.json`.
        names: of the files that are there.
    """
    try:
        entries = json.loads((folder / "report.json").read_text(encoding="utf-8"))["artifacts"]
        latencies = {entry["file"]: float(entry["latency_ms"]) for entry in entries if entry["latency_ms"]}
    except (OSError, ValueError, KeyError, TypeError):
        latencies = {}
    floats = [row.file for row in FORMATS.values() if not row.quantized and row.file in names]
    return min(floats, key=lambda name: latencies.get(name, math.inf), default=None)

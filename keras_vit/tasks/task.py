"""What a task is: one object that knows how a model for it is trained, judged and shown.

Training, evaluation, prediction, export and reports work through this interface and know no task by name.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import track

from keras_vit.data import Examples, image_dataset
from keras_vit.data.decode import decode, to_channels
from keras_vit.data.kinds import LabelKind
from keras_vit.errors import InputError, suggest
from keras_vit.evaluation.assessment import Assessment
from keras_vit.preprocessing import Preprocessing
from keras_vit.tasks.explaining import Explaining
from keras_vit.tasks.shipping import Shipping

Outputs = Callable[[np.ndarray], np.ndarray]
"""Images (B, H, W, channels) at the model's size, pixels 0..255 -> what the model gives for them."""


@dataclass(frozen=True)
class Task(Shipping, Explaining, ABC):
    """One thing that a model can be trained for. Its other fields are the settings that a recipe's `options` may have.

    Attributes:
        class_names: C names, in the order of the model's outputs.
    """

    class_names: tuple[str, ...]

    labels: ClassVar[LabelKind]
    """How labels are read, checked and batched."""
    goals: ClassVar[Mapping[str, Callable]]
    """Figure of an epoch that may choose the best one -> `max` or `min`; the first is the default."""
    fit: ClassVar[str] = "crop"
    """How images are fitted into the model's input, unless a recipe says otherwise; see `Preprocessing`."""

    batch_size: ClassVar[int] = 64
    """Of training, unless a recipe says otherwise."""
    columns: ClassVar[tuple[str, ...]] = ("file",)
    """Of `records`: those that a CSV has even where nothing was seen."""

    # Learning

    @abstractmethod
    def loss(self, model: keras.Model, examples: Examples, label_smoothing: float | None = None) -> keras.losses.Loss:
        """What is minimised.

        Args:
            model: the one that is trained.
            examples: that it is trained on.
            label_smoothing: mass spread over all classes; None takes what is usual for the task.

        Raises:
            InputError: the task knows no label smoothing, and some is asked for.
        """

    def metrics(self) -> list[keras.metrics.Metric]:
        """What is streamed beside the loss in training and validation."""
        return []

    def validation(
        self, outputs_of: Outputs, examples: Examples, preprocessing: Preprocessing, batch_size: int
    ) -> dict[str, float]:
        """Figures of the validation split after an epoch that no streamed metric can give, by names `val_...`.

        Args:
            outputs_of: the model with the weights that are validated.
            examples: the validation split.
            preprocessing: of the model.
            batch_size: images at a time.
        """
        return {}

    # Judging

    def predictions(
        self,
        outputs_of: Outputs,
        examples: Examples,
        preprocessing: Preprocessing,
        *,
        batch_size: int = 64,
        progress: bool = True,
    ) -> Iterator[Any]:
        """What a model says of each image, in order, in terms of the original image.

        Args:
            outputs_of: the model, or an exported file.
            examples: images; labels are not looked at.
            preprocessing: of the model.
            batch_size: images at a time.
            progress: show a bar.
        """
        dataset = image_dataset(examples, preprocessing, batch_size=batch_size)
        done = 0
        for images in shown(dataset, -(-len(examples) // batch_size), progress):
            for output in outputs_of(np.asarray(images)):
                yield self.interpret(output, examples, done, preprocessing)
                done += 1

    def interpret(self, output: np.ndarray, examples: Examples, index: int, preprocessing: Preprocessing) -> Any:
        """One image's prediction from the model's output for it, in terms of the original image.

        Args:
            output: of one image.
            examples: all images.
            index: of the image among them.
            preprocessing: how the image was fitted into the model's input.
        """
        return output

    @abstractmethod
    def judge(self, predictions: Iterable[Any], examples: Examples, preprocessing: Preprocessing) -> Assessment:
        """Figures and pictures of what was said about labelled examples.

        Raises:
            InputError: the labels do not fit the task's classes.
        """

    # Showing

    @abstractmethod
    def draw(self, images: np.ndarray, outputs: np.ndarray, targets: np.ndarray):
        """A matplotlib figure of images (n, H, W, channels) at the model's size with what it said and the truth."""

    @abstractmethod
    def draw_targets(self, images: np.ndarray, targets: np.ndarray):
        """A matplotlib figure of training images (n, H, W, channels) with their targets."""

    @abstractmethod
    def overlay(self, image: np.ndarray, prediction: Any) -> np.ndarray:
        """The original image, uint8 (H, W, channels), with a prediction drawn over it: uint8 (H', W', 3)."""

    @abstractmethod
    def describe(self, prediction: Any, file: str, top: int) -> dict:
        """A prediction as a row of JSON: `file` and plain values.

        Args:
            prediction: of the image.
            file: its name.
            top: how many classes to tell, for tasks that rank them.
        """

    def verdict(self, prediction: Any, examples: Examples | None = None, index: int = 0) -> tuple[str, str]:
        """A prediction in a few words, for a title; of a labelled example what is true stands on a second line.

        Args:
            prediction: of the image.
            examples: the labelled ones that the image is of, if any; a class below 0 is not known.
            index: of the image among them.

        Returns:
            The words, and their colour.
        """
        record = next(iter(self.records(self.describe(prediction, "", 1))), {"": "nothing"})
        return " ".join(str(value) for key, value in record.items() if key != "file"), "black"

    @abstractmethod
    def records(self, row: Mapping) -> list[dict]:
        """A row of `describe` as flat records: those of a CSV and of the table on a terminal."""


def make_task(name: str, class_names: Sequence[str], options: Mapping[str, object] | None = None) -> Task:
    """The task of a name, with its settings.

    Raises:
        InputError: unknown task or setting; says the nearest right one.
    """
    from keras_vit.tasks import TASKS

    if name not in TASKS:
        raise InputError(f"There is no task {name!r}: {suggest(name, TASKS)}")
    known = [field.name for field in dataclasses.fields(TASKS[name]) if field.name != "class_names"]
    for option in options or {}:
        if option not in known:
            raise InputError(f"The task {name} has no option {option!r}: {suggest(option, known)}")
    return TASKS[name](tuple(class_names), **(options or {}))


def describe_task(task: Task) -> dict:
    """What `make_task` makes a task of the same kind from: `{"name", "options"}`, plain data."""
    from keras_vit.tasks import TASKS

    name = next(name for name, kind in TASKS.items() if kind is type(task))
    options = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
    del options["class_names"]
    return {"name": name, "options": {key: list(v) if isinstance(v, tuple) else v for key, v in options.items()}}


def shown(batches: Iterable, total: int, progress: bool, title: str = "predicting") -> Iterable:
    """The same batches, with a bar on a terminal."""
    console = Console(stderr=True)
    silent = not (progress and console.is_terminal)
    return track(batches, title, total=total, console=console, transient=True, disable=silent)


def original(examples: Examples, index: int, channels: int) -> np.ndarray:
    """One image as it is, upright: (H, W, channels) uint8."""
    if examples.images is not None:
        image = examples.images[index]
        return to_channels(tf.constant(image if image.ndim == 3 else image[..., None]), channels).numpy()
    return decode(tf.constant(examples.raw(index)), channels).numpy()


def pixels(images: np.ndarray) -> np.ndarray:
    """Float pixels 0..255 as uint8, for drawing."""
    return np.clip(np.rint(images), 0, 255).astype("uint8")

"""What a task knows of exported files: what they give, how good that is, and how near to their source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from keras_vit.data import Examples
from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

SMALLEST = 1e-6
"""Smaller probabilities count as this where a logarithm is taken: quantised ones are often exactly 0."""


@dataclass(frozen=True)
class Part:
    """One output of an exported file. A file's answer is its outputs side by side along their last axis.

    Attributes:
        name: of the output.
        columns: of the answer that it is.
        unit: how large an error in it is as bad as an error of 1 in a probability.
    """

    name: str
    columns: slice
    unit: float = 1.0


class Shipping:
    """The part of `Task` that exports work through.

    What is here suits every task whose outputs are logits of classes along the last axis, of images or of their places.
    """

    @property
    def parts(self) -> tuple[Part, ...]:
        """The outputs of an exported file, in the order of their names; the last one has one column a class."""
        return (Part("probabilities", slice(None)),)

    def shipped(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """The outputs of an exported file from the model's, by the names of `parts`, in TensorFlow operations."""
        return {"probabilities": tf.nn.softmax(outputs, name="probabilities")}

    def served(self) -> dict[str, Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]]:
        """Further signatures of a SavedModel by name: what each makes of the outputs of `shipped`."""
        return {}

    def of_file(self, outputs: np.ndarray) -> np.ndarray:
        """The model's outputs from those of a file that was exported from it.

        Args:
            outputs: of the file, for n images, side by side.
        """
        return outputs

    def check(self, model: keras.Model, examples: Examples) -> None:
        """Makes sure that a model is one of this task, and can be judged on these examples.

        Raises:
            InputError: the model has another number of classes than there are names, or labels do not fit.
        """
        found = model.output_shape[-1] - sum(part.columns.stop for part in self.parts[:-1])
        if len(self.class_names) != found:
            raise InputError(
                f"There are {len(self.class_names)} class names for a model of {found} classes: give one name a class."
            )

    @property
    def metric(self) -> str:
        """The figure of `judge` that says how good outputs are, such as `"top1"`."""
        return next(iter(self.goals)).removeprefix("val_")

    def score(self, outputs: np.ndarray, examples: Examples, preprocessing: Preprocessing) -> float:
        """The metric, a fraction, of a file's outputs for all examples.

        Args:
            outputs: (n, ...) for the images as `image_dataset` fits them into the model's input; perhaps on disk.
            examples: n labelled images.
            preprocessing: of the model.
        """
        said = (
            self.interpret(self.of_file(np.asarray(output)[None])[0], examples, index, preprocessing)
            for index, output in enumerate(outputs)
        )
        return self.judge(said, examples, preprocessing).figures[self.metric] or 0.0

    def same(self, output: np.ndarray, source: np.ndarray) -> tuple[int, int]:
        """How many decisions about an image two files have in common, and how many there are.

        Args:
            output: of one file, for one image.
            source: of the other, from whose decisions is counted.
        """
        agreed = output.argmax(-1) == source.argmax(-1)
        return int(agreed.sum()), int(agreed.size)

    def divergence(self, output: np.ndarray, source: np.ndarray) -> float:
        """How far one file's outputs for an image are from another's: the mean of KL(source || output) in nats."""
        p, q = (np.maximum(np.asarray(values, "float64"), SMALLEST) for values in (source, output))
        p, q = (values / values.sum(-1, keepdims=True) for values in (p, q))
        return float((p * np.log(p / q)).sum(-1).mean())

    def told(self, output: np.ndarray, most: int = 3) -> list[tuple[int, float]]:
        """The classes that a file sees most of in an image, and how much of each, 0..1."""
        shares = output.reshape(-1, output.shape[-1]).mean(0)
        return [(int(index), float(shares[index])) for index in np.argsort(-shares, kind="stable")[:most]]

    def draw_both(self, image: np.ndarray, source: np.ndarray, output: np.ndarray):
        """A matplotlib figure of an image (H, W, channels) as two files see it; None where words are enough."""
        return None

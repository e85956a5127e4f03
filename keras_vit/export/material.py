"""What every writer of a format is given, each part made once and only when a format asks for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from keras_vit.data import Examples, image_dataset
from keras_vit.export.graph import ExportGraph, Network, optimise, read
from keras_vit.export.graph.equalise import equalise, observe
from keras_vit.export.graph.reduction import reduce_tokens
from keras_vit.export.quantize import Policy, Statistics, collect, quantize
from keras_vit.export.tflite import write_tflite
from keras_vit.export.verify import spread
from keras_vit.preprocessing import Preprocessing
from keras_vit.tasks.task import Task

CALIBRATION_IMAGES = 128
"""So many images show a network's ranges."""


@dataclass(frozen=True)
class Form:
    """One of the networks that files are made from.

    Attributes:
        integer: written for integer kernels, see `ExportGraph`.
        equalised: its channels evened out, see `equalise`; needs calibration images.
        schedule: tokens that each block merges away, see `reduce_tokens`; empty for none.
    """

    integer: bool = False
    equalised: bool = False
    schedule: tuple[int, ...] = ()


INTEGER_FORM = Form(integer=True, equalised=True)
"""What integer files are made from."""


@dataclass
class Material:
    """A trained model on its way out.

    Attributes:
        model: pixels in, the task's outputs out.
        task: what it was trained for.
        preprocessing: the model's record.
        folder: where intermediate files lie; it does not outlive the export.
        calibration: images that quantisers may look at, or None.
        threads: of the runtimes that measure ranges.
    """

    model: keras.Model
    task: Task
    preprocessing: Preprocessing
    folder: Path
    calibration: Examples | None = None
    threads: int = 1
    _floats: dict[Form, Path] = field(default_factory=dict)
    _statistics: dict[Form, Statistics] = field(default_factory=dict)

    @cached_property
    def calibration_images(self) -> Path:
        """.npy file of uint8 images (n, H, W, channels); there must be calibration images."""
        examples = spread(self.calibration, CALIBRATION_IMAGES)
        batches = image_dataset(examples, self.preprocessing, batch_size=32)
        path = self.folder / "calibration.npy"
        np.save(path, np.concatenate([images.numpy().astype("uint8") for images in batches]))
        return path

    @cached_property
    def network(self) -> Network:
        """The rewritten network."""
        return optimise(read(self.model))

    def graph(self, form: Form = Form(), *, batch: int | None = None) -> ExportGraph:
        """The export graph of a form, for images in batches of this size."""
        network = reduce_tokens(self.network, form.schedule) if form.schedule else self.network
        if form.equalised:
            network = equalise(network, observe(network, np.load(self.calibration_images, mmap_mode="r")))
        return ExportGraph(network, batch=batch, integer=form.integer, finish=self.task.shipped)

    def float_tflite(self, form: Form = Form()) -> Path:
        """The float32 file of a form: what quantisers start from."""
        if form not in self._floats:
            path = self.folder / f"float_{len(self._floats)}.tflite"
            write_tflite(self.graph(form, batch=1), path)
            self._floats[form] = path
        return self._floats[form]

    def quantise(self, path: Path, policy: Policy, form: Form = INTEGER_FORM) -> None:
        """Writes a quantised file; the ranges of a form's activations are measured once."""
        source = self.float_tflite(form)
        if policy.needs_statistics and form not in self._statistics:
            self._statistics[form] = collect(source, self.calibration_images, threads=self.threads)
        quantize(source, path, policy, self._statistics.get(form))

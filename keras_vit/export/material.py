"""What every writer of a format is given, each part made once and only when a format asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from keras_vit.data import Examples, eval_dataset
from keras_vit.errors import InputError
from keras_vit.export.graph import ExportGraph, Network, optimise, read
from keras_vit.export.tflite import write_tflite
from keras_vit.export.verify import spread
from keras_vit.preprocessing import Preprocessing

CALIBRATION_IMAGES = 128
"""So many images show a network's ranges."""


@dataclass
class Material:
    """A trained model on its way out.

    Attributes:
        model: the classifier.
        class_names: C names.
        preprocessing: the model's record.
        folder: where intermediate files lie; it does not outlive the export.
        calibration: images that quantisers may look at, or None.
    """

    model: keras.Model
    class_names: Sequence[str]
    preprocessing: Preprocessing
    folder: Path
    calibration: Examples | None = None
    _floats: dict[str, Path] = field(default_factory=dict)

    @cached_property
    def calibration_images(self) -> Path:
        """.npy file of uint8 images (n, H, W, channels).

        Raises:
            InputError: there are none.
        """
        if not self.calibration:
            raise InputError("Integer formats need images to measure their ranges on: give calibration images.")
        examples = spread(self.calibration, CALIBRATION_IMAGES)
        batches = eval_dataset(examples, self.preprocessing, num_classes=1, batch_size=32)
        path = self.folder / "calibration.npy"
        np.save(path, np.concatenate([images.numpy().astype("uint8") for images, _ in batches]))
        return path

    @cached_property
    def network(self) -> Network:
        """The rewritten network."""
        return optimise(read(self.model))

    def graph(self, *, batch: int | None = None, integer: bool = False) -> ExportGraph:
        """The export graph; see `ExportGraph`."""
        return ExportGraph(self.network, batch=batch, integer=integer)

    def float_tflite(self, *, integer: bool) -> Path:
        """The float32 file that quantisers start from."""
        if integer not in self._floats:
            path = self.folder / f"float{'_integer' if integer else ''}.tflite"
            write_tflite(self.graph(batch=1, integer=integer), path)
            self._floats[integer] = path
        return self._floats[integer]

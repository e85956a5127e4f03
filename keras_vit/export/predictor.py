"""`load`: any exported file as one small object with `predict`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_vit.errors import InputError
from keras_vit.export.runtimes import Opened, open_onnx, open_saved_model, open_tflite
from keras_vit.preprocessing import Preprocessing

if TYPE_CHECKING:
    from keras_vit.tasks import Task

CLASSIFICATION = {"name": "classification", "options": {}}
"""The task of files that name none and give one row of numbers: those of earlier versions."""

DYNAMIC_BATCH = 8
"""Images a call where a file takes any number: more would cost memory and gain nothing on a CPU."""


@dataclass(frozen=True)
class Predictor:
    """An exported file, ready to say what it sees in images.

    Attributes:
        path: of the file or folder.
        class_names: C names: the file's own, those of the `labels.txt` beside it, or else the numbers 0 to C - 1.
        preprocessing: how images become the pixels that the file takes: its own record, or that of the `report.json`
            beside it; None where neither is there.
        input_shape: (B, H, W, channels); B is None where the file takes any number of images.
        row_shape: (..., K) of what it says about an image: all outputs side by side, in the order of their names.
        task_name: what the model was trained for, as the file says or the `report.json` beside it; None where neither
            does and the outputs are no single row.
        task_options: the settings of that task.
    """

    path: Path
    class_names: tuple[str, ...]
    preprocessing: Preprocessing | None
    input_shape: tuple[int | None, int, int, int]
    row_shape: tuple[int, ...]
    _call: Callable[[np.ndarray], np.ndarray] = field(repr=False)
    task_name: str | None = None
    task_options: Mapping[str, object] = field(default_factory=dict)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """What the file gives, float32 (n, ..., K): class probabilities (n, C) of a classifier, (n, H, W, C) of a
        segmenter, boxes and scores (n, A, 4 + C) of a detector.

        Args:
            images: pixels 0..255 in the file's size, (n, H, W, channels), whole numbers or floats.

        Raises:
            InputError: another shape or type.
        """
        images = np.asarray(images)
        expected = self.input_shape[1:]
        if images.ndim != 4 or images.shape[1:] != expected or images.dtype.kind not in "uif":
            raise InputError(
                f"{self.path.name} takes pixels of the shape (images, {', '.join(map(str, expected))}), "
                f"not {images.dtype} of the shape {images.shape}: predict_files resizes image files."
            )
        batch = self.input_shape[0]
        rows = [np.zeros((0, *self.row_shape), "float32")]
        for start in range(0, len(images), batch or DYNAMIC_BATCH):
            part = images[start : start + (batch or DYNAMIC_BATCH)]
            missing = (batch or len(part)) - len(part)
            full = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
            rows.append(self._call(full)[: len(part)])
        return np.concatenate(rows)

    def predict_files(self, paths: Sequence[str | os.PathLike]) -> np.ndarray:
        """The same, of image files: decoded, resized and cropped as the record says.

        Needs TensorFlow.

        Raises:
            InputError: an image is missing or cannot be read, or the file has no preprocessing record.
        """
        import tensorflow as tf

        from keras_vit.data.decode import decode
        from keras_vit.data.geometry import resize_and_crop

        record = self.record()
        images = np.zeros((len(paths), *self.input_shape[1:]), "uint8")
        for image, path in zip(images, paths, strict=True):
            try:
                image[:] = resize_and_crop(decode(tf.io.read_file(os.fspath(path)), record.channels), record)
            except tf.errors.OpError as error:
                reason = "is missing" if isinstance(error, tf.errors.NotFoundError) else "cannot be read as an image"
                raise InputError(f"{path} {reason}: give JPEG, PNG, WebP, BMP or GIF files.") from error
        return self.predict(images)

    @property
    def task(self) -> Task:
        """The task, which knows what the outputs mean; needs TensorFlow.

        Raises:
            InputError: nothing says what the model was trained for.
        """
        from keras_vit.tasks import make_task

        if self.task_name is None:
            raise InputError(
                f"{self.path} does not say what it was trained for: keep the report.json of its export beside it, or "
                "call predict with pixels."
            )
        return make_task(self.task_name, self.class_names, self.task_options)

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """What the Keras model would give for pixels (n, H, W, channels); needs TensorFlow."""
        return self.task.of_file(self.predict(images))

    def record(self) -> Preprocessing:
        """The preprocessing record.

        Raises:
            InputError: there is none.
        """
        if self.preprocessing is None:
            raise InputError(
                f"{self.path} does not say how images are prepared for it: keep the report.json of its export beside "
                "it, or call predict with pixels."
            )
        return self.preprocessing


OPENERS: dict[str, Callable[[Path, int], Opened]] = {".tflite": open_tflite, ".onnx": open_onnx}
"""Ending of a file -> how it is opened; a folder is a SavedModel."""


def is_exported(path: str | os.PathLike) -> bool:
    """Whether a path is a file that `load` takes, by its ending, or a SavedModel folder."""
    path = Path(path)
    return (path.is_file() and path.suffix in OPENERS) or (path / "saved_model.pb").is_file()


def load(path: str | os.PathLike, *, threads: int | None = None) -> Predictor:
    """Opens an exported file.

    Array prediction with `.tflite` and `.onnx` files needs no TensorFlow.

    Args:
        path: a `.tflite` file of any kind, an `.onnx` file or a SavedModel folder.
        threads: of the runtime; None takes the machine's cores, at most 4. A SavedModel runs on TensorFlow's own.

    Raises:
        InputError: the file is missing, damaged or no exported model, its runtime is not installed, or the labels
            or the record beside it do not fit it.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no exported file {path}: check the path.")
    if not is_exported(path):
        raise InputError(f"{path} is no exported file: give a {' or '.join(OPENERS)} file, or a SavedModel folder.")
    opener = open_saved_model if path.is_dir() else OPENERS[path.suffix]
    try:
        opened = opener(path, threads or min(4, os.cpu_count() or 1))
    except InputError:
        raise
    except Exception as error:  # each runtime has its own kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(
            f"{path} cannot be opened ({reason}): it is damaged or was not exported by keras_vit."
        ) from error
    names = opened.class_names or _labels_beside(path) or tuple(map(str, range(opened.num_classes)))
    if len(names) != opened.num_classes:
        raise InputError(
            f"There are {len(names)} class names for the {opened.num_classes} classes of {path}: "
            "put its own labels.txt beside it."
        )
    told = opened.task or (len(opened.row_shape) == 1 and CLASSIFICATION)
    beside = {} if opened.preprocessing and told else _source_beside(path)
    record = opened.preprocessing or beside.get("preprocessing")
    if record and (*record.image_size, record.channels) != opened.input_shape[1:]:
        raise InputError(
            f"{path} takes images of {opened.input_shape[1:]}, but its preprocessing record is for "
            f"{(*record.image_size, record.channels)}: put its own report.json beside it."
        )
    task = opened.task or beside.get("task") or told
    task = {"task_name": task["name"], "task_options": task["options"]} if task else {}
    return Predictor(path, names, record, opened.input_shape, opened.row_shape, opened.call, **task)


def _labels_beside(path: Path) -> tuple[str, ...]:
    labels = path.with_name("labels.txt")
    return tuple(labels.read_text(encoding="utf-8").splitlines()) if labels.is_file() else ()


def _source_beside(path: Path) -> dict:
    """`preprocessing` and `task` as the export's report beside a file tells them; nothing where there is none."""
    report = path.with_name("report.json")
    if not report.is_file():
        return {}
    try:
        source = json.loads(report.read_text(encoding="utf-8"))["source"]
        return {"preprocessing": Preprocessing(**source["preprocessing"]), "task": source.get("task")}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{report} is no report of an export ({error}): export again, or remove it.") from error

"""THE table of formats: what each is called, who writes it, who runs it and what it may cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from keras_vit.errors import InputError, suggest
from keras_vit.export.material import INTEGER_FORM, Form, Material
from keras_vit.export.onnx import quantize_onnx, write_onnx
from keras_vit.export.quantize import DYNAMIC, INT16, INTEGER, MIXED, WEIGHT_ONLY, Policy
from keras_vit.export.saved_model import write_saved_model
from keras_vit.export.tflite import write_tflite
from keras_vit.tasks.task import describe_task

MAX_ERROR = 1e-3
"""Largest error of any probability that a float file may have; a detector's boxes may be off by a tenth of a pixel."""

MAX_DROP = 1.0
"""Points of the metric that a quantised file may lose."""


@dataclass(frozen=True)
class Format:
    """One kind of artefact.

    Attributes:
        file: name of the file or folder.
        write: makes it, called as `write(material, path)`; None where a search does.
        runner: script of `runners/` that runs it.
        inputs: which inputs the runner takes, see `verify.Reference`.
        quantized: judged by what it loses of the metric instead of by the largest error.
        calibrated: needs calibration images.
    """

    file: str
    write: Callable[[Material, Path], None] | None
    runner: str = "run_tflite"
    inputs: tuple[str, ...] = ("images",)
    quantized: bool = False
    calibrated: bool = False


def _saved_model(material: Material, path: Path) -> None:
    write_saved_model(
        material.graph(),
        path,
        class_names=material.task.class_names,
        preprocessing=material.preprocessing,
        task=material.task,
    )


def _tflite(material: Material, path: Path, *, weights: str) -> None:
    write_tflite(material.graph(batch=1), path, weights=weights)


def _quantised(material: Material, path: Path, *, policy: Policy, form: Form = INTEGER_FORM) -> None:
    material.quantise(path, policy, form)


def _dynamic(material: Material, path: Path) -> None:
    # Not equalised: rows quantised while running adapt by themselves, and the stretched stream costs them a little.
    material.quantise(path, replace(DYNAMIC, bias_correction=bool(material.calibration)), Form())


def _onnx(material: Material, path: Path) -> None:
    write_onnx(
        material.graph(),
        path,
        batch=None,
        class_names=material.task.class_names,
        preprocessing=material.preprocessing,
        task=describe_task(material.task),
    )


def _onnx_int8(material: Material, path: Path) -> None:
    source = material.folder / "float.onnx"
    _onnx(material, source)
    quantize_onnx(source, path)


FORMATS = {
    "saved_model": Format("saved_model", _saved_model, "run_saved_model", ("images", "encoded")),
    "tflite": Format("model.tflite", partial(_tflite, weights="float32")),
    "tflite-float16": Format("model_float16.tflite", partial(_tflite, weights="float16")),
    "tflite-int8-dynamic": Format("model_int8_dynamic.tflite", _dynamic, quantized=True),
    "tflite-int8": Format("model_int8.tflite", partial(_quantised, policy=INTEGER), quantized=True, calibrated=True),
    "tflite-int8-int16": Format(
        "model_int8_int16.tflite", partial(_quantised, policy=MIXED), quantized=True, calibrated=True
    ),
    "tflite-int16": Format("model_int16.tflite", partial(_quantised, policy=INT16), quantized=True, calibrated=True),
    "tflite-int8-weights": Format(
        "model_int8_weights.tflite", partial(_quantised, policy=WEIGHT_ONLY, form=Form()), quantized=True
    ),
    "tflite-int4-weights": Format(
        "model_int4_weights.tflite",
        partial(_quantised, policy=replace(WEIGHT_ONLY, weight_bits=4, weight_clipping="mse"), form=Form()),
        quantized=True,
    ),
    "onnx": Format("model.onnx", _onnx, "run_onnx"),
    "onnx-int8": Format("model_int8.onnx", _onnx_int8, "run_onnx", quantized=True),
}
"""Format name -> its row."""


AUTO = Format("model_auto.tflite", None, quantized=True)
"""What `keras_vit.export.search` finds."""


def check_formats(names: str | Sequence[str]) -> list[str]:
    """The names of formats, each once.

    Raises:
        InputError: none given, or a name that is not in the table; says the nearest right one.
    """
    names = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    if not names:
        raise InputError(f"No format to export to was given: {suggest('', FORMATS)}.")
    for name in names:
        if name not in FORMATS:
            raise InputError(f"There is no export format {name!r}: {suggest(name, FORMATS)}")
    return names

"""THE table of formats: what each is called, who writes it, who runs it and what it may cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from keras_vit.errors import InputError, suggest
from keras_vit.export.material import Material
from keras_vit.export.saved_model import write_saved_model
from keras_vit.export.tflite import write_tflite

MAX_ERROR = 1e-3
"""Largest error of any probability that a float file may have."""

MAX_DROP = 1.0
"""Points of the metric that a quantised file may lose."""


@dataclass(frozen=True)
class Tolerance:
    """What an artefact may lose; a None is not judged.

    Attributes:
        max_error: largest error of any probability.
        max_drop: how much smaller the metric may be than the source's, a fraction.
    """

    max_error: float | None = None
    max_drop: float | None = None

    def misses(self, figures: dict) -> list[str]:
        """Why the figures of `verify.measure` are not good enough; empty when they are."""
        error, drop = figures["max_error"], figures["metric_source"] - figures["metric"]
        missed = []
        if error is None:
            missed.append("its probabilities are not all finite")
        elif self.max_error is not None and error > self.max_error:
            missed.append(f"its probabilities are off by up to {error:.2g}, more than {self.max_error:g}")
        # A hair's breadth for fractions that floating point does not hold exactly: 0.77 - 0.76 is above 0.01.
        if self.max_drop is not None and drop > self.max_drop + 1e-9:
            missed.append(f"it loses {100 * drop:.2f} points of accuracy, more than {100 * self.max_drop:g}")
        return missed


@dataclass(frozen=True)
class Format:
    """One kind of artefact.

    Attributes:
        file: name of the file or folder.
        write: makes it, called as `write(material, path)`.
        runner: script of `runners/` that runs it.
        inputs: which inputs the runner takes, see `verify.Reference`.
        quantized: judged by what it loses of the metric instead of by the largest error.
    """

    file: str
    write: Callable[[Material, Path], None]
    runner: str = "run_tflite"
    inputs: tuple[str, ...] = ("images",)
    quantized: bool = False


def _saved_model(material: Material, path: Path) -> None:
    write_saved_model(material.graph(), path, class_names=material.class_names, preprocessing=material.preprocessing)


def _tflite(material: Material, path: Path, *, weights: str) -> None:
    write_tflite(material.graph(batch=1), path, weights=weights)


FORMATS = {
    "saved_model": Format("saved_model", _saved_model, "run_saved_model", ("images", "encoded")),
    "tflite": Format("model.tflite", partial(_tflite, weights="float32")),
    "tflite-float16": Format("model_float16.tflite", partial(_tflite, weights="float16")),
    "tflite-int8-dynamic": Format(
        "model_int8_dynamic.tflite", partial(_tflite, weights="int8-dynamic"), quantized=True
    ),
}
"""Format name -> its row."""


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

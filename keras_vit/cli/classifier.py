"""What a command was given to classify with: a run folder or an exported file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from keras_vit.errors import InputError

if TYPE_CHECKING:
    from keras_vit.export.predictor import Predictor
    from keras_vit.training.run import Run

ARGUMENT = {"metavar": "RUN_OR_FILE", "help": "a run folder, or an exported .tflite, .onnx or SavedModel"}


def open_classifier(path: str) -> Run | Predictor:
    """The run or the exported file at a path.

    Raises:
        InputError: neither is there, or it cannot be opened.
    """
    from keras_vit.export.predictor import OPENERS, is_exported, load
    from keras_vit.training import load_run
    from keras_vit.training.run import RECIPE

    if is_exported(path) or Path(path).suffix in OPENERS:
        return load(path)
    if not (Path(path) / RECIPE).is_file():
        raise InputError(
            f"{path} is no run folder (it has no {RECIPE}) and no exported file "
            f"({', '.join(OPENERS)} or a SavedModel folder): check the path."
        )
    return load_run(path)


def run_of(file: Path) -> Run | None:
    """The run that an exported file lies in, or None."""
    from keras_vit.training import load_run
    from keras_vit.training.run import EXPORT, RECIPE

    folder = file.absolute().parent
    return load_run(folder.parent) if folder.name == EXPORT and (folder.parent / RECIPE).is_file() else None

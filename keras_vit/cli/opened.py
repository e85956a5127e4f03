"""What a command was given to work with: a run folder or an exported file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keras_vit.errors import InputError

if TYPE_CHECKING:
    from keras_vit.export.predictor import Predictor
    from keras_vit.preprocessing import Preprocessing
    from keras_vit.tasks import Task
    from keras_vit.tasks.task import Outputs
    from keras_vit.training.run import Run

ARGUMENT = {"metavar": "RUN_OR_FILE", "help": "a run folder, or an exported .tflite, .onnx or SavedModel"}


@dataclass(frozen=True)
class Opened:
    """A model that answers, wherever it came from.

    Attributes:
        outputs: the model.
        task: what it was trained for.
        preprocessing: how images are prepared for it.
        run: the run that it belongs to; None for a file that lies in none.
        file: the exported file; None for a run's own model.
    """

    outputs: Outputs
    task: Task
    preprocessing: Preprocessing
    run: Run | None
    file: Path | None


def open_model(path: str) -> Opened:
    """The run's model or the exported file at a path, ready to answer.

    Raises:
        InputError: neither is there, or it cannot be opened.
    """
    from keras_vit.export.predictor import Predictor
    from keras_vit.tasks import outputs_of

    found = open_path(path)
    if not isinstance(found, Predictor):
        return Opened(outputs_of(found.model), found.task, found.preprocessing, found, None)
    return Opened(found.outputs, found.task, found.record(), run_of(found.path), found.path)


def open_path(path: str) -> Run | Predictor:
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

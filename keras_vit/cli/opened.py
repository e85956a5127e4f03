"""What a command was given to work with: a run folder or an exported file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keras_vit.errors import InputError

if TYPE_CHECKING:
    from keras_vit.data import Data, Examples
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


def open_run(path: str, need: str) -> Run:
    """The run at a path, for commands that an exported file is not enough for.

    Args:
        path: what the user gave.
        need: what such a file lacks, as the end of a sentence: `attention that could be looked into`.

    Raises:
        InputError: there is no run; of an exported file it says which run to give.
    """
    from keras_vit.export.predictor import is_exported

    if not is_exported(path):
        return open_path(path)
    owner = run_of(Path(path))
    instead = f"the run it lies in, {owner.folder}" if owner else "the folder of the run that it was exported from"
    raise InputError(f"{path} is an exported file and has no {need}: give {instead}.")


def load_data(run: Run | None, task: Task, spec: str | None = None, *, whole: bool = False, skip_bad: bool) -> Data:
    """A run's own data or other data, split as the run's own was, in the class order of the model.

    Args:
        run: whose data and splits; None where the other data is split as by default.
        task: of the model.
        spec: the other data, in any form that `train` reads.
        whole: make no splits of data that has none.
        skip_bad: leave images out that cannot be read; for its own data, the run may have been told so.

    Raises:
        InputError: the data cannot be used.
    """
    from keras_vit.data import align, load
    from keras_vit.training import Recipe

    recipe = run.recipe if run else Recipe()
    settings, own = recipe.data, spec is None
    data = load(
        settings.spec if own else spec,
        labels=task.labels,
        val_fraction=0 if whole else settings.val_fraction,
        test_fraction=0 if whole else settings.test_fraction,
        seed=recipe.seed,
        skip_bad=skip_bad or (own and settings.skip_bad),
    )
    return align(data, task.class_names)


def split_of(data: Data, split: str) -> Examples:
    """One split of the data.

    Raises:
        InputError: the data has no such split.
    """
    if split not in data.splits:
        raise InputError(f"{data.spec} has no {split} split: choose --split from {', '.join(data.splits)}.")
    return data.splits[split]


def run_of(file: Path) -> Run | None:
    """The run that an exported file lies in, or None."""
    from keras_vit.training import load_run
    from keras_vit.training.run import EXPORT, RECIPE

    folder = file.absolute().parent
    return load_run(folder.parent) if folder.name == EXPORT and (folder.parent / RECIPE).is_file() else None

"""A run folder: the unit that people keep."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import json
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

import keras
import yaml

from keras_vit.build import preprocessing_of
from keras_vit.data import Data
from keras_vit.errors import InputError
from keras_vit.files import PARTIAL, check_writable, write_text
from keras_vit.preprocessing import Preprocessing
from keras_vit.tasks import Task, make_task
from keras_vit.training.checkpoints import last_state
from keras_vit.training.recipe import PROVENANCE, Recipe, read_settings

RECIPE, MODEL, LABELS, METRICS, HISTORY = "recipe.yaml", "model.keras", "labels.txt", "metrics.json", "history.csv"
CHECKPOINTS, EVALUATION, EXPORT, PAGE = "checkpoints", "evaluation", "export", "report.html"


@dataclass(frozen=True)
class Run:
    """A finished (or stopped) run.

    Attributes:
        folder: where it lies.
        recipe: what it was told.
        class_names: of the model's outputs, in order.
        metrics: `{"val": {...}, "test": {...}}` with the figures of the task, as fractions.
        history: figure -> one value an epoch.
    """

    folder: Path
    recipe: Recipe
    class_names: list[str]
    metrics: dict[str, dict]
    history: dict[str, list[float]]

    @functools.cached_property
    def model(self) -> keras.Model:
        """The best model, loaded when it is first asked for."""
        return keras.saving.load_model(self.folder / MODEL, compile=False)

    @functools.cached_property
    def task(self) -> Task:
        """What the model was trained for."""
        return make_task(self.recipe.task, self.class_names, self.recipe.options)

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are prepared for the model."""
        return preprocessing_of(self.model)


def load_run(folder: str | Path) -> Run:
    """Reads a run folder back.

    Raises:
        InputError: no run folder, or one whose training has not completed an epoch.
    """
    folder = Path(folder)
    if not (folder / RECIPE).is_file():
        raise InputError(f"{folder} is no run folder: it has no {RECIPE}.")
    if not (folder / MODEL).is_file():
        raise InputError(f"The run {folder} has not completed an epoch: continue it with --resume.")
    state = last_state(folder / CHECKPOINTS)
    metrics = folder / METRICS
    return Run(
        folder,
        Recipe.read(folder / RECIPE),
        (folder / LABELS).read_text(encoding="utf-8").splitlines(),
        json.loads(metrics.read_text()) if metrics.is_file() else {},
        state.history if state else {},
    )


def write_opening(folder: Path, recipe: Recipe, data: Data, model: keras.Model) -> None:
    """Writes what is known before training: the recipe with its provenance, and the class names."""
    provenance = {
        "versions": {name: importlib.metadata.version(name) for name in ("keras_vit", "keras", "tensorflow", "numpy")},
        "python": platform.python_version(),
        "git": _git_state(),
        "data_fingerprint": data.fingerprint,
        "data_counts": data.counts,
        "weights_adapted": list(getattr(model, "adapted_weights", ())),
    }
    record = {**recipe.to_dict(), PROVENANCE: provenance}
    # The recipe makes it a run folder that can be resumed, and the rest is then written once more: so it comes first.
    write_text(folder / RECIPE, yaml.safe_dump(record, sort_keys=False))
    write_text(folder / LABELS, "".join(f"{name}\n" for name in data.class_names))


def new_folder(recipe: Recipe) -> Path:
    """The folder of a run that was given none, named after model, data and time."""
    source = Path(recipe.data.spec.replace(":", "-")).stem
    moment = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path("saved_models") / f"{recipe.model.name}-{source}-{moment}"


def check_folder(folder: Path, resume: bool, overwrite: bool) -> None:
    """Makes sure that a run may be written there.

    Raises:
        InputError: there is a run that is neither to be resumed nor replaced, or none to resume, or no right to write.
    """
    if resume and overwrite:
        raise InputError("Either resume a run or overwrite it: both were asked for.")
    if resume and not (folder / RECIPE).is_file():
        raise InputError(f"There is no run to resume in {folder}: leave --resume out to start one.")
    # A temporary file is all that there is when the very first write was killed.
    files = [path for path in folder.glob("*") if not path.name.startswith(PARTIAL)]
    if files and not (resume or overwrite):
        raise InputError(f"The run folder {folder} exists: --resume continues it, --overwrite replaces it.")
    if overwrite and folder.exists() and not (folder / RECIPE).is_file():
        raise InputError(f"{folder} is no run folder (it has no {RECIPE}), so it is not overwritten: choose another.")
    # Found out now rather than after an epoch of work.
    check_writable(folder)


def check_same_data(folder: Path, data: Data) -> None:
    """Makes sure that a run is continued on the images it began with.

    Raises:
        InputError: the data's fingerprint is another one.
    """
    known = read_settings(folder / RECIPE).get(PROVENANCE, {}).get("data_fingerprint")
    if known != data.fingerprint:
        raise InputError(
            f"The data is not what the run {folder} began with (images, labels or split have changed): "
            "start a new run, or give the old data."
        )


def write_metrics(folder: Path, metrics: dict[str, dict], history: dict[str, list[float]]) -> None:
    """Writes `metrics.json` and `history.csv`."""
    write_text(folder / METRICS, json.dumps(metrics, indent=1))
    rows = zip(*history.values(), strict=True)
    lines = [",".join(("epoch", *history))]
    lines += [",".join((str(epoch), *(f"{value:.6g}" for value in row))) for epoch, row in enumerate(rows, 1)]
    write_text(folder / HISTORY, "\n".join(lines) + "\n")


def _git_state() -> str | None:
    """The commit of the checkout that the run was started in, with `-dirty` where it was changed; else None."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None

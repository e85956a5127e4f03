"""What a run remembers after every epoch: the best model, and all that resuming needs."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from keras_vit.errors import InputError
from keras_vit.files import atomic, write_text
from keras_vit.training.average import averaged


@dataclass
class State:
    """The small part of a checkpoint, kept as JSON beside the weights.

    Attributes:
        epoch: epochs completed.
        best: the monitored figure of the best epoch.
        best_epoch: its number, counted from 1.
        waited: epochs since then.
        history: figure -> one value an epoch.
        seeds: the state of every random generator inside the model, in the order of its variables.
        weights: name of the weights file.
    """

    epoch: int = 0
    best: float | None = None
    best_epoch: int = 0
    waited: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    seeds: list[list[int]] = field(default_factory=list)
    weights: str = ""


class KeepState(keras.callbacks.Callback):
    """Saves the best model and a checkpoint at the end of each epoch, and stops when patience runs out.

    Both are written under a temporary name and moved into place: a kill at any moment leaves the last whole
    checkpoint.

    Args:
        folder: the run folder.
        plain: the functional model that is saved as `model.keras`; it shares its layers with the trained one.
        monitor: the figure that chooses the best epoch.
        better: `max` or `min`: which of two values of it is better.
        patience: epochs without a better figure before stopping; 0 never stops.
    """

    def __init__(self, folder: Path, plain: keras.Model, monitor: str, better: Callable, patience: int):
        super().__init__()
        self.folder = folder
        self.plain = plain
        self.monitor = monitor
        self.better = better
        self.patience = patience
        self.state = State()

    @property
    def _checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def restore(self, model: keras.Model) -> int:
        """Brings a model, compiled and with its optimizer built, back to the end of the last whole epoch.

        Returns:
            The number of epochs completed; 0 where the run had not completed one.

        Raises:
            InputError: the checkpoint is of another model.
        """
        record = self._checkpoints / "state.json"
        if not record.exists():
            return 0
        self.state = State(**json.loads(record.read_text()))
        try:
            with warnings.catch_warnings():
                # Keras only warns where the optimizer has other variables (another `freeze`, no average any more) and
                # goes on with fresh moments, which would be no resuming.
                warnings.filterwarnings("error", message="Skipping variable loading")
                model.load_weights(self._checkpoints / self.state.weights)
            for variable, value in zip(_generators(model), self.state.seeds, strict=True):
                variable.assign(np.asarray(value, variable.dtype))
        except (ValueError, KeyError, OSError, UserWarning) as error:
            reason = str(error).strip().split("\n")[0]
            raise InputError(
                f"The checkpoint in {self._checkpoints} does not fit this recipe ({reason}): resume with the "
                "run's own, which is taken when no other is given."
            ) from None
        return self.state.epoch

    def out_of_patience(self) -> bool:
        """Whether the run has waited long enough for a better epoch."""
        return bool(self.patience) and self.state.waited >= self.patience

    def on_epoch_end(self, epoch, logs=None):
        """Records the figures, keeps the model if it is the best, and writes the checkpoint.

        Raises:
            InputError: the loss is not a number; the last whole checkpoint stays.
        """
        if not math.isfinite(logs["loss"]):
            raise InputError(
                f"Training diverged in epoch {epoch + 1} (the loss is not a number): lower train.learning_rate or "
                "raise train.warmup_epochs."
            )
        state, value = self.state, float(logs[self.monitor])
        state.epoch = epoch + 1
        for name, figure in logs.items():
            state.history.setdefault(name, []).append(float(figure))
        if state.best is None or (value != state.best and self.better(value, state.best) == value):
            state.best, state.best_epoch, state.waited = value, epoch + 1, 0
            with averaged(self.model), atomic(self.folder / "model.keras") as path:
                self.plain.save(path)
        else:
            state.waited += 1
        self._write_checkpoint()
        if self.out_of_patience():
            self.model.stop_training = True

    def _write_checkpoint(self) -> None:
        previous = self.state.weights
        self.state.weights = f"epoch-{self.state.epoch:04d}.weights.h5"
        self.state.seeds = [np.asarray(variable).tolist() for variable in _generators(self.model)]
        self._checkpoints.mkdir(exist_ok=True)
        with atomic(self._checkpoints / self.state.weights) as path:
            self.model.save_weights(path)
        write_text(self._checkpoints / "state.json", json.dumps(dataclasses.asdict(self.state)))
        if previous and previous != self.state.weights:
            (self._checkpoints / previous).unlink(missing_ok=True)


def _generators(model: keras.Model) -> list:
    """The state variables of random generators: all that Keras does not count as weights."""
    weights = {id(variable) for variable in model.weights}
    metrics = {id(variable) for variable in model.metrics_variables}
    return [v for v in model.variables if id(v) not in weights and id(v) not in metrics]

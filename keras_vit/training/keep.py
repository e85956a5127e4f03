"""What a run remembers: the best model, and all that resuming needs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import keras

from keras_vit.files import atomic
from keras_vit.training import snapshot
from keras_vit.training.average import averaged
from keras_vit.training.checkpoints import Checkpoints, State
from keras_vit.training.faults import Diverged
from keras_vit.training.run import CHECKPOINTS, MODEL
from keras_vit.training.settings import TrainSettings
from keras_vit.training.team import Request, Team


class KeepState(keras.callbacks.Callback):
    """Saves a checkpoint at the end of each epoch and inside long ones, and the best model; stops when patience runs
    out, or when the loss is no number.

    The checkpoint that says which epoch is best is written before `model.keras`, and `restore` writes `model.keras`
    once more where that was the last thing done: a kill between the two leaves no disagreement. Only when the newest
    checkpoint was damaged may `model.keras` be of a later epoch than the state: the run comes by that epoch again.

    Args:
        folder: the run folder.
        plain: the functional model that is saved as `model.keras`; it shares its layers with the trained one.
        monitor: the figure that chooses the best epoch.
        better: `max` or `min`: which of two values of it is better.
        settings: how many checkpoints are kept, how often, patience and back-off.
        team: the processes that train together; the chief writes.

    Attributes:
        state: where the run is, and what it has reached.
        request: what this process wants after its last step.
        averages: after `restore` into the middle of an epoch, the metrics' part of the checkpoint.
    """

    def __init__(
        self, folder: Path, plain: keras.Model, monitor: str, better: Callable, settings: TrainSettings, team: Team
    ):
        super().__init__()
        self.folder = folder
        self.plain = plain
        self.monitor = monitor
        self.better = better
        self.settings = settings
        self.team = team
        self.request = Request.GO_ON
        self.state = State()
        self.checkpoints = Checkpoints(folder / CHECKPOINTS, settings.keep)
        self.averages: dict = {}
        self._saved_at: tuple[int, int] | None = None
        self._saved_when = time.monotonic()

    def restore(self, model: keras.Model) -> None:
        """Brings a model, compiled and with its optimizer built, back to the newest checkpoint whose checksum fits;
        without one it stays as it is.

        Raises:
            InputError: the checkpoint is of another model or optimizer, or all are damaged.
        """
        found = self.checkpoints.newest()
        if found is None:
            return
        state, arrays = found
        snapshot.put(model, arrays)
        self.state, self.averages = state, arrays if state.step else {}
        self._saved_at = state.epoch, state.step
        if state.epoch and state.epoch == state.best_epoch and not state.step:
            self._save_best(model)

    def go_back(self, model: keras.Model) -> bool:
        """After a divergence: back to the last checkpoint, which from now on knows of it.

        Returns:
            False where `train.back_off` allows no more of it; nothing is changed then.
        """
        diverged = [*self.state.diverged, [self.state.epoch + 1, self.state.step]]
        if len(diverged) > self.settings.back_off:
            return False
        self.restore(model)
        self.state.diverged = diverged
        if self.team.chief:
            self.checkpoints.rewrite(self.state)
        return True

    @property
    def rate_factor(self) -> float:
        """By what the learning rate is multiplied: halved each time that the run went back."""
        return 0.5 ** len(self.state.diverged)

    def out_of_patience(self) -> bool:
        """Whether the run has waited long enough for a better epoch."""
        return bool(self.settings.patience) and self.state.waited >= self.settings.patience

    def save(self, averages: dict | None = None) -> None:
        """Writes a checkpoint of this moment, where there is none yet.

        Args:
            averages: the metrics of the unfinished epoch where the model's own are those of validation by now.

        Raises:
            Diverged: a weight is not finite; nothing is written.
            InputError: the disk is full; the checkpoints before stay.
        """
        if self._saved_at != (self.state.epoch, self.state.step):
            self._write({**self._arrays(), **(averages or {})})

    def on_train_begin(self, logs=None):
        """Writes a first checkpoint where a run may have to go back to it."""
        if self.settings.back_off and self.state == State():
            self.save()

    def on_train_batch_end(self, batch, logs=None):
        """Counts the update, looks at its loss, and asks to save where the last checkpoint is old."""
        self.state.step = batch + 1
        minutes = self.settings.save_minutes
        old = minutes and time.monotonic() - self._saved_when >= 60 * minutes
        self.request = Request.SAVE if old else Request.GO_ON
        if not math.isfinite(logs["loss"]):
            self.request = Request.DIVERGED

    def on_epoch_end(self, epoch, logs=None):
        """Records the figures, writes the checkpoint, and keeps the model if it is the best.

        Raises:
            Diverged: a weight is not finite; nothing is written.
        """
        arrays = self._arrays()
        state, value = self.state, float(logs[self.monitor])
        if self.settings.back_off or "back_offs" in state.history:
            # The setting may be one that a resumed run was given.
            state.history.setdefault("back_offs", [0.0] * epoch)
            logs["back_offs"] = len(state.diverged)
        state.epoch, state.step = epoch + 1, 0
        for name, figure in logs.items():
            state.history.setdefault(name, []).append(float(figure))
        best = state.best is None or (value != state.best and self.better(value, state.best) == value)
        if best:
            state.best, state.best_epoch, state.waited = value, epoch + 1, 0
        else:
            state.waited += 1
        self._write(arrays)
        if best:
            self._save_best(self.model)
        if self.out_of_patience():
            self.model.stop_training = True

    def _arrays(self) -> dict:
        arrays = snapshot.take(self.model)
        if not snapshot.finite(arrays):
            raise Diverged(self.state.epoch, self.state.step, "a weight")
        return arrays

    def _write(self, arrays: dict) -> None:
        if self.team.chief:
            self.checkpoints.write(self.state, arrays)
        self._saved_at, self._saved_when = (self.state.epoch, self.state.step), time.monotonic()

    def _save_best(self, model: keras.Model) -> None:
        if self.team.chief:
            with averaged(model), atomic(self.folder / MODEL) as path:
                self.plain.save(path)

"""One trial of a search: a run whose recipe the search has changed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import keras
from filelock import FileLock, Timeout

from keras_vit.errors import InputError
from keras_vit.search.space import changed
from keras_vit.training import Recipe, train
from keras_vit.training.checkpoints import last_state
from keras_vit.training.run import CHECKPOINTS, RECIPE

if TYPE_CHECKING:
    from optuna.trial import Trial

TRIALS = "trials"
"""Folder of a search in which each trial has its run folder."""

REASON, TRIES = "reason", "tries"
"""What is noted with a trial: why it failed, and how often it was begun."""


def folder_of(search: Path, number: int) -> Path:
    """The run folder of a trial."""
    return search / TRIALS / f"{number:04d}"


def claim(search: Path, number: int) -> FileLock | None:
    """Makes this process the only one that works on a trial, until the lock is released or the process dies; None where
    another one is."""
    lock = FileLock(search / TRIALS / f".{number:04d}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


class Report(keras.callbacks.Callback):
    """Tells Optuna the watched figure after each epoch, and leaves the run where the trial is not worth going on.

    Args:
        trial: of the study.
        monitor: the figure.
    """

    def __init__(self, trial: Trial, monitor: str):
        super().__init__()
        self.trial = trial
        self.monitor = monitor

    def on_epoch_end(self, epoch, logs=None):
        """Reports.

        Raises:
            TrialPruned: others were better at this epoch.
        """
        from optuna import TrialPruned

        self.trial.report(float(logs[self.monitor]), epoch)
        if self.trial.should_prune():
            raise TrialPruned


def run_trial(search: Path, base: Recipe, trial: Trial, monitor: str) -> float:
    """Trains one trial to its end, from its last checkpoint where it was begun before.

    Args:
        search: folder of the search.
        base: the recipe that the trial's values change.
        trial: with its values drawn.
        monitor: the figure that is searched for.

    Returns:
        The best value of the figure over the epochs. The test split is not looked at.

    Raises:
        InputError: the run cannot be made with these values, or its loss is no number.
        TrialPruned: others were better.
        Stopped: by a signal; the trial's checkpoint is saved.
    """
    keras.utils.clear_session()
    folder = folder_of(search, trial.number)
    # A search judges by the best epoch, so one checkpoint is enough; nobody looks into every trial.
    settings = dataclasses.replace(base.train, keep=1, monitor=monitor)
    log = dataclasses.replace(base.log, looks=0, embedding=0, examples=0)
    recipe = changed(dataclasses.replace(base, out=str(folder), train=settings, log=log), trial.params)
    resume = (folder / RECIPE).is_file()
    train(recipe, resume=resume, progress=False, test=False, callbacks=[Report(trial, monitor)])
    state = last_state(folder / CHECKPOINTS)
    if state is None or state.best is None:
        raise InputError(f"The run {folder} has left no figure.")
    return state.best

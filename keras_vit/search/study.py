"""A search over recipes: Optuna chooses the values, runs are the trials, and nothing is lost when it is stopped."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from filelock import FileLock

from keras_vit.errors import Failure, InputError, Stopped
from keras_vit.files import write_text
from keras_vit.search.outcome import TABLE, write_outcome
from keras_vit.search.space import Space, check, value_of
from keras_vit.search.trial import REASON, TRIES, claim, folder_of, run_trial
from keras_vit.training import Recipe, Run, train
from keras_vit.training.assemble import open_data
from keras_vit.training.recipe import read_settings
from keras_vit.training.run import RECIPE
from keras_vit.training.train import check_recipe, monitored

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

SEARCH, JOURNAL, LOCK = "search.yaml", "study.journal", ".study.lock"

RANDOM_TRIALS = 8
"""Trials whose values are drawn at random before the sampler learns from them."""

_HOPELESS = 3  # failures at the beginning after which a search ends
_PATIENCE = 2  # a trial whose process died so often is given up: its values may be what kills it


def tune(
    recipe: Recipe,
    space: Space,
    folder: str | Path,
    *,
    trials: int = 20,
    pruning: bool = True,
    told: Callable[[FrozenTrial], None] = lambda trial: None,
) -> Run:
    """Searches for the values of some settings with which a recipe validates best.

    The first trial has the recipe's own values. The values of the next ones are drawn by a tree-structured Parzen
    estimator (Bergstra et al., 2011), seeded by the recipe. A trial that is worse than the median of the others at the
    same epoch is ended (Golovin et al., 2017). The test split is not looked at until the search is over, and then by
    the best trial only.

    A search that was stopped or killed goes on when it is called again, its unfinished trials from their checkpoints;
    several processes that are called with the same folder share the work.

    Args:
        recipe: what is changed; `recipe.train.monitor` says which figure is searched for.
        space: settings, and the values that each may take.
        folder: gets `search.yaml`, `study.journal` (Optuna's), `trials/NNNN/` (run folders), `trials.csv`, `search.png`
            and `best.yaml`, a recipe.
        trials: that the search has when it is done, counted over all processes and earlier calls.
        pruning: end trials early.
        told: is called after each trial that this process has ended.

    Returns:
        The run of the best trial, judged on the test split too.

    Raises:
        InputError: anything that cannot be used, or the folder holds another search.
        Failure: no trial has come to its end.
        Stopped: by a signal; the search goes on when it is called again.
    """
    if importlib.util.find_spec("optuna") is None:
        raise InputError('Searching needs Optuna: pip install "keras_vit[tune]".')
    folder = Path(folder)
    if trials < 1:
        raise InputError(f"A search has at least 1 trial, not {trials}.")
    check_recipe(recipe)
    check(recipe, space)
    complete, data, task = open_data(recipe, progress=True)
    monitor = monitored(complete, task)
    for note in data.notes:
        print(note)
    study = _open(folder, recipe, space, monitor, maximize=task.goals[monitor] is max, pruning=pruning)
    try:
        while (begun := _next(study, folder, recipe, space, trials)) is not None:
            trial, lock = begun
            with lock:
                told(_tried(study, folder, recipe, trial, monitor))
            write_outcome(folder, study, recipe, monitor)
            _check_worth(study)
        return _judged(study, folder)
    except Stopped as error:
        raise Stopped(f"The search in {folder} is stopped, and goes on when it is called again. ({error})") from None


def _open(folder: Path, recipe: Recipe, space: Space, monitor: str, *, maximize: bool, pruning: bool) -> Study:
    """The study in a folder, new or as it was left."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    settings = {key: value for key, value in recipe.to_dict().items() if key != "out"}
    described = {
        "monitor": monitor,
        "space": {path: {"kind": type(axis).__name__, **dataclasses.asdict(axis)} for path, axis in space.items()},
        "recipe": settings,
    }
    text = yaml.safe_dump(described, sort_keys=False)
    if folder.exists() and any(folder.iterdir()) and not (folder / SEARCH).is_file():
        raise InputError(f"{folder} holds something else than a search: choose a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK):
        if not (folder / SEARCH).is_file():
            write_text(folder / SEARCH, text)
        elif read_settings(folder / SEARCH) != yaml.safe_load(text):
            raise InputError(
                f"{folder} holds a search of another recipe or space (see {folder / SEARCH}): give the same again to "
                "go on with it, or choose a new folder."
            )
        logging.getLogger("optuna").setLevel(logging.WARNING)
        pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=max(1, recipe.train.epochs // 5))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.create_study(
                study_name="keras_vit",
                storage=optuna.storages.JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
                pruner=pruner if pruning else optuna.pruners.NopPruner(),
                direction="maximize" if maximize else "minimize",
                load_if_exists=True,
            )


def _next(study: Study, folder: Path, recipe: Recipe, space: Space, trials: int) -> tuple[Trial, FileLock] | None:
    """A trial that somebody left unfinished, or else a new one, and what keeps others from it; None when there are
    enough."""
    import optuna

    state = optuna.trial.TrialState
    with FileLock(folder / LOCK):
        for left in study.get_trials(states=[state.RUNNING]):
            lock = claim(folder, left.number)
            if lock is None:
                continue
            if set(left.params) == set(space) and left.user_attrs.get(TRIES, 0) < _PATIENCE:
                return optuna.trial.Trial(study, left._trial_id), lock
            # It died while its values were drawn, or too often.
            study.tell(left.number, state=state.FAIL)
            lock.release()
        asked = study.get_trials(deepcopy=False)
        number = sum(trial.state != state.WAITING for trial in asked)
        if number >= trials:
            return None
        if not asked:
            study.enqueue_trial(_own_values(recipe, space))
        # A seed for each trial: the values do not depend on how often the search was stopped, nor on who asks.
        study.sampler = optuna.samplers.TPESampler(
            seed=1_000_003 * recipe.seed + number, n_startup_trials=RANDOM_TRIALS, multivariate=True
        )
        lock = claim(folder, number)
        return study.ask({path: axis.distribution() for path, axis in space.items()}), lock


def _own_values(recipe: Recipe, space: Space) -> dict:
    """The recipe's values of the settings, where the search allows them."""
    own = {path: value_of(recipe, path) for path in space}
    return {path: value for path, value in own.items() if space[path].holds(value)}


def _tried(study: Study, folder: Path, recipe: Recipe, trial: Trial, monitor: str) -> FrozenTrial:
    """Runs a trial and tells the study what came of it."""
    import optuna

    state, tries = optuna.trial.TrialState, trial.user_attrs.get(TRIES, 0)
    trial.set_user_attr(TRIES, tries + 1)
    try:
        value = run_trial(folder, recipe, trial, monitor)
    except optuna.TrialPruned:
        return study.tell(trial.number, state=state.PRUNED)
    except InputError as error:
        trial.set_user_attr(REASON, str(error))
        return study.tell(trial.number, state=state.FAIL)
    except Stopped:
        # That was nobody's fault: the trial goes on another time.
        trial.set_user_attr(TRIES, tries)
        raise
    return study.tell(trial.number, value)


def _check_worth(study: Study) -> None:
    """Ends a search of which nothing but failures has come."""
    found = study.get_trials(deepcopy=False)
    failed = [trial.user_attrs.get(REASON, "its process died") for trial in found if trial.state.name == "FAIL"]
    if len(failed) == len(found) >= _HOPELESS:
        raise Failure(f"The first {len(failed)} trials have failed, the last one because: {failed[-1]}")


def _judged(study: Study, folder: Path) -> Run:
    """The run of the best trial, with the figures of the test split."""
    if not any(trial.state.name == "COMPLETE" for trial in study.get_trials(deepcopy=False)):
        raise Failure(f"No trial of the search in {folder} has come to its end: see {folder / TABLE}.")
    best = folder_of(folder, study.best_trial.number)
    # Another process may be about to do the same.
    with FileLock(folder / LOCK):
        return train(Recipe.read(best / RECIPE), resume=True, progress=False)

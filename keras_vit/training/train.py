"""`train`: a recipe in, a run folder out."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import keras

from keras_vit.backend import require_tensorflow
from keras_vit.data import Data
from keras_vit.errors import InputError, suggest
from keras_vit.explain import can_be_looked_into, look_at
from keras_vit.tasks import TASKS, Task, evaluate
from keras_vit.training.assemble import assemble, open_data
from keras_vit.training.devices import make_strategy, resolve_precision
from keras_vit.training.faults import explained
from keras_vit.training.fit import learn
from keras_vit.training.keep import KeepState
from keras_vit.training.projector import write_embedding
from keras_vit.training.recipe import Recipe
from keras_vit.training.report import SPLITS, write_page
from keras_vit.training.run import (
    EVALUATION,
    MODEL,
    Run,
    check_folder,
    check_same_data,
    load_run,
    new_folder,
    write_metrics,
    write_opening,
)
from keras_vit.training.tensorboard import OUTCOME, write_outcome
from keras_vit.variants import parse


def train(
    recipe: Recipe,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    test: bool = True,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Run:
    """Trains, keeps the best epoch, tests it, and writes the run folder.

    A run that was stopped at any moment, by SIGKILL too, continues with `resume` from its last checkpoint: optimizer,
    averaged weights, schedule, data order, random generators, the epoch's averages and the best score are those of an
    uninterrupted run. SIGTERM and Ctrl-C save first.

    Args:
        recipe: all settings. `recipe.out` is the run folder; None makes a new one under `saved_models/`.
        resume: continue the run in `recipe.out`; the recipe must be the run's own (it may ask for more epochs).
        overwrite: replace a run folder that exists.
        progress: show bars.
        test: judge the model on the test split too, where there is one.
        callbacks: further ones, called after ours: an epoch is saved when they hear of it. What they raise ends the
            run, which can be resumed.

    Returns:
        The finished run.

    Raises:
        InputError: anything in the recipe that cannot be used, and nothing is written then; or the loss is no number,
            an image cannot be read any more, or the disk is full, and the run can be resumed from its last checkpoint.
        Stopped: by SIGTERM or Ctrl-C; all is saved.
    """
    check_recipe(recipe)
    folder = Path(recipe.out) if recipe.out else new_folder(recipe)
    strategy, team = make_strategy(recipe.train.devices)
    if team.chief:
        check_folder(folder, resume, overwrite)
    policy = resolve_precision(recipe.train.precision)
    keras.utils.set_random_seed(recipe.seed)

    recipe, data, task = open_data(recipe, progress and team.chief)
    if team.chief:
        for note in data.notes:
            print(note)
    if data.val is None:
        raise InputError("Training needs a validation split to choose the best epoch: set data.val_fraction above 0.")
    monitor = monitored(recipe, task)

    with strategy.scope():
        plain, model, steps = assemble(recipe, data, task, strategy, policy, team)
        keep = KeepState(folder, plain, monitor, task.goals[monitor], recipe.train, team)
        if resume:
            check_same_data(folder, data)
            if team.chief:
                keep.checkpoints.clear()
            keep.restore(model)

    team.check_same(int(data.fingerprint[:6], 16), "the data")
    team.check_same(keep.state.epoch * steps + keep.state.step, "the run folder, which must be storage that they share")
    if team.chief:
        if overwrite and folder.exists():
            shutil.rmtree(folder)
        write_opening(folder, dataclasses.replace(recipe, out=str(folder)), data, plain)
        print(f"{_summary(recipe, plain, data, strategy, policy)}\nrun folder: {folder}")
    if keep.state.epoch < recipe.train.epochs and not keep.out_of_patience():
        if resume and team.chief:
            print(f"resuming after epoch {keep.state.epoch}, step {keep.state.step}")
        with team.together(folder):
            learn(recipe, folder, model, steps, data, task, keep, callbacks)
    if team.chief:
        _finish(recipe, folder, data if test else dataclasses.replace(data, test=None), task, keep, progress)
    with team.together(folder):
        team.wait()
    return load_run(folder)


def _finish(recipe: Recipe, folder: Path, data: Data, task: Task, keep: KeepState, progress: bool) -> None:
    """Judges the best model on validation and test, and writes figures, pictures and the page."""
    model = keras.saving.load_model(folder / MODEL, compile=False)
    judged = {}
    for split, examples in (("val", data.val), ("test", data.test)):
        if examples is not None:
            with explained(folder, lambda examples=examples: examples):
                judged[split] = evaluate(model, examples, task, batch_size=recipe.train.batch_size, progress=progress)
    write_metrics(folder, {split: found.figures for split, found in judged.items()}, keep.state.history)
    for split, found in judged.items():
        found.save(folder / EVALUATION, split)
    shown = next(split for split in SPLITS if split in judged)
    looks = look_at(model, getattr(data, shown), task, judged[shown].order, count=recipe.log.examples)
    if looks:
        looks.save(folder / EVALUATION, shown)
    val = judged["val"]
    if recipe.log.embedding and can_be_looked_into(model):
        # Before there is an event file in the same folder, by which TensorBoard finds it.
        write_embedding(folder / "logs" / OUTCOME, model, data.val, task, recipe.log.embedding)
    write_outcome(folder / "logs", recipe, val.pictures, val.figures, keep.state.best_epoch)
    write_page(folder)


def check_recipe(recipe: Recipe) -> None:
    """Makes sure of what can be known before anything is read.

    Raises:
        InputError: the backend, the model's name, the task or the cache does not fit.
    """
    require_tensorflow("Training")
    parse(recipe.model.name)
    if recipe.task not in TASKS:
        raise InputError(f"There is no task {recipe.task!r}: {suggest(recipe.task, TASKS)}")
    if recipe.data.cache_size is not None and recipe.task != "classification":
        raise InputError("data.cache_size is for classification only: masks and boxes belong to images as they are.")


def monitored(recipe: Recipe, task: Task) -> str:
    """The figure that chooses the best epoch.

    Raises:
        InputError: the recipe names one that the task does not have.
    """
    # What validation adds beyond streamed metrics is the task's own affair: its first goal is always there.
    streamed = {"val_loss", *(f"val_{metric.name}" for metric in task.metrics())}
    watched = [goal for index, goal in enumerate(task.goals) if index == 0 or goal in streamed]
    monitor = recipe.train.monitor or watched[0]
    if monitor not in task.goals:
        raise InputError(f"monitor {monitor!r} is not known: {suggest(monitor, task.goals)}")
    if monitor not in watched:
        raise InputError(
            f"With {len(task.class_names)} classes there is no {monitor} to watch: {suggest(monitor, watched)}"
        )
    return monitor


def _summary(recipe: Recipe, model: keras.Model, data: Data, strategy, policy: str) -> str:
    counts = ", ".join(f"{len(examples)} {split}" for split, examples in data.splits.items())
    learning = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    start = f"from {recipe.model.weights}" if recipe.model.weights else "from random weights"
    return (
        f"{recipe.model.name} {start}: {model.count_params():,} parameters, {learning:,} of them learning\n"
        f"{len(data.class_names)} classes, images: {counts}\n"
        f"{strategy.num_replicas_in_sync} device(s), {policy}"
    )

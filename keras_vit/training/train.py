"""`train`: a recipe in, a run folder out."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path

import keras

from keras_vit.backend import require_tensorflow
from keras_vit.build import build
from keras_vit.data import Data, load
from keras_vit.errors import InputError, suggest
from keras_vit.preprocessing import PRESETS
from keras_vit.tasks import TASKS, Task, evaluate, make_task
from keras_vit.training.devices import make_strategy, resolve_precision
from keras_vit.training.faults import explained
from keras_vit.training.fit import learn, training_data
from keras_vit.training.freeze import freeze
from keras_vit.training.keep import KeepState
from keras_vit.training.optimizers import freeze_groups, make_optimizer
from keras_vit.training.recipe import Recipe
from keras_vit.training.report import write_page
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
from keras_vit.training.tensorboard import write_outcome
from keras_vit.training.trainer import TrainingModel
from keras_vit.variants import parse
from keras_vit.weights.source import locate


def train(recipe: Recipe, *, resume: bool = False, overwrite: bool = False, progress: bool = True) -> Run:
    """Trains, keeps the best epoch, tests it, and writes the run folder.

    A run that was stopped at any moment, by SIGKILL too, continues with `resume` from its last checkpoint: optimizer,
    averaged weights, schedule, data order, random generators, the epoch's averages and the best score are those of an
    uninterrupted run. SIGTERM and Ctrl-C save first.

    Args:
        recipe: all settings. `recipe.out` is the run folder; None makes a new one under `saved_models/`.
        resume: continue the run in `recipe.out`; the recipe must be the run's own (it may ask for more epochs).
        overwrite: replace a run folder that exists.
        progress: show bars.

    Returns:
        The finished run.

    Raises:
        InputError: anything in the recipe that cannot be used, and nothing is written then; or the loss is no number,
            an image cannot be read any more, or the disk is full, and the run can be resumed from its last checkpoint.
        Stopped: by SIGTERM or Ctrl-C; all is saved.
    """
    _check(recipe)
    folder = Path(recipe.out) if recipe.out else new_folder(recipe)
    strategy, team = make_strategy(recipe.train.devices)
    if team.chief:
        check_folder(folder, resume, overwrite)
    policy = resolve_precision(recipe.train.precision)
    keras.utils.set_random_seed(recipe.seed)

    data = load(
        recipe.data.spec,
        labels=TASKS[recipe.task].labels,
        val_fraction=recipe.data.val_fraction,
        test_fraction=recipe.data.test_fraction,
        seed=recipe.seed,
        skip_bad=recipe.data.skip_bad,
        progress=progress and team.chief,
    )
    if team.chief:
        for note in data.notes:
            print(note)
    if data.val is None:
        raise InputError("Training needs a validation split to choose the best epoch: set data.val_fraction above 0.")
    task = make_task(recipe.task, data.class_names, recipe.options)
    monitor = _monitor(recipe, task)
    settings = dataclasses.replace(recipe.train, batch_size=recipe.train.batch_size or task.batch_size)
    recipe = dataclasses.replace(recipe, train=settings)

    with strategy.scope():
        plain = _build(recipe, data, policy)
        freeze(plain, recipe.train.freeze)
        freeze_groups(plain, recipe.train.groups)
        # Over the same layers: the plain model stays uncompiled, so that what is saved of it is free of the
        # optimizer's state, two thirds of the file.
        model = TrainingModel(plain, recipe.train.accumulate, recipe.train.sam)
        _check_batch(recipe, strategy.num_replicas_in_sync, data)
        _, steps = training_data(recipe, data, plain, task, team=team)
        model.compile(
            optimizer=make_optimizer(recipe.train, steps, model, policy, summed=True),
            loss=task.loss(plain, data.train, recipe.train.label_smoothing),
            metrics=task.metrics(),
            # Under several replicas XLA fails: a variable of its computation lies on another device.
            jit_compile=False if strategy.num_replicas_in_sync > 1 else "auto",
        )
        # Built now, or `fit` would trace its step once more when the optimizer's variables appear.
        model.optimizer.build(model.trainable_variables)
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
            learn(recipe, folder, model, steps, data, task, keep)
    if team.chief:
        _finish(recipe, folder, data, task, keep, progress)
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
    val = judged["val"]
    write_outcome(folder / "logs", recipe, val.pictures, val.figures, keep.state.best_epoch)
    write_page(folder)


def _build(recipe: Recipe, data: Data, policy: str) -> keras.Model:
    settings = dataclasses.asdict(recipe.model)
    preset, fit = settings.pop("preprocessing"), settings.pop("fit") or TASKS[recipe.task].fit
    crop = settings.pop("crop")
    if preset is not None and preset not in PRESETS:
        raise InputError(f"There is no preprocessing {preset!r}: {suggest(preset, PRESETS)}")
    variant, weights = parse(recipe.model.name), settings.pop("weights")
    source = locate(weights, variant) if weights else None
    native = source.preprocessing if source and source.preprocessing else variant.family.preprocessing
    record = PRESETS[preset] if preset else native
    if fit == "pad":
        # What is filled up shows all of the image.
        crop = 1.0 if crop is None else crop
    record = dataclasses.replace(record, fit=fit, crop=record.crop if crop is None else crop)
    return build(
        **settings,
        weights=source,
        num_classes=len(data.class_names),
        task=recipe.task,
        dtype=policy,
        preprocessing=record,
        seed=recipe.seed,
    )


def _check(recipe: Recipe) -> None:
    require_tensorflow("Training")
    parse(recipe.model.name)
    if recipe.task not in TASKS:
        raise InputError(f"There is no task {recipe.task!r}: {suggest(recipe.task, TASKS)}")
    if recipe.data.cache_size is not None and recipe.task != "classification":
        raise InputError("data.cache_size is for classification only: masks and boxes belong to images as they are.")


def _monitor(recipe: Recipe, task: Task) -> str:
    """The figure that chooses the best epoch."""
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


def _check_batch(recipe: Recipe, replicas: int, data: Data) -> None:
    pieces, batch_size = replicas * recipe.train.accumulate, recipe.train.batch_size
    if batch_size % pieces:
        raise InputError(
            f"A batch of {batch_size} cannot be shared by {replicas} device(s) in {recipe.train.accumulate} "
            f"micro-batch(es): use a multiple of {pieces}."
        )
    if len(data.train) < batch_size:
        raise InputError(
            f"There are {len(data.train)} training images, fewer than one batch of {batch_size}: lower "
            "train.batch_size."
        )


def _summary(recipe: Recipe, model: keras.Model, data: Data, strategy, policy: str) -> str:
    counts = ", ".join(f"{len(examples)} {split}" for split, examples in data.splits.items())
    learning = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    start = f"from {recipe.model.weights}" if recipe.model.weights else "from random weights"
    return (
        f"{recipe.model.name} {start}: {model.count_params():,} parameters, {learning:,} of them learning\n"
        f"{len(data.class_names)} classes, images: {counts}\n"
        f"{strategy.num_replicas_in_sync} device(s), {policy}"
    )

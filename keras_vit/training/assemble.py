"""A recipe's data, and its model ready to be fitted."""

from __future__ import annotations

import dataclasses

import keras
import tensorflow as tf

from keras_vit.build import build
from keras_vit.data import Data, load
from keras_vit.errors import InputError, suggest
from keras_vit.preprocessing import PRESETS
from keras_vit.tasks import TASKS, Task, make_task
from keras_vit.training.fit import training_data
from keras_vit.training.freeze import freeze
from keras_vit.training.optimizers import freeze_groups, make_optimizer
from keras_vit.training.recipe import Recipe
from keras_vit.training.team import Team
from keras_vit.training.trainer import TrainingModel
from keras_vit.variants import parse
from keras_vit.weights.source import locate


def open_data(recipe: Recipe, progress: bool) -> tuple[Recipe, Data, Task]:
    """What a recipe learns from and for.

    Args:
        recipe: all settings.
        progress: show a bar while files are checked.

    Returns:
        The recipe with the task's own batch size where it had none, the data, and the task.

    Raises:
        InputError: data or options that cannot be used.
    """
    data = load(
        recipe.data.spec,
        labels=TASKS[recipe.task].labels,
        val_fraction=recipe.data.val_fraction,
        test_fraction=recipe.data.test_fraction,
        seed=recipe.seed,
        skip_bad=recipe.data.skip_bad,
        progress=progress,
    )
    task = make_task(recipe.task, data.class_names, recipe.options)
    settings = dataclasses.replace(recipe.train, batch_size=recipe.train.batch_size or task.batch_size)
    return dataclasses.replace(recipe, train=settings), data, task


def assemble(
    recipe: Recipe, data: Data, task: Task, strategy: tf.distribute.Strategy, policy: str, team: Team
) -> tuple[keras.Model, TrainingModel, int]:
    """Builds and compiles what a recipe describes; call it inside the strategy's scope.

    Args:
        recipe: all settings, with a batch size.
        data: what is learned from.
        task: what is learned.
        strategy: of the devices.
        policy: Keras dtype policy.
        team: the processes that train together.

    Returns:
        The functional model; the model over the same layers that is trained, with its optimizer's variables; and the
        number of steps in an epoch.

    Raises:
        InputError: anything in the recipe that does not fit the data or the devices.
    """
    plain = _build(recipe, data, policy)
    freeze(plain, recipe.train.freeze)
    freeze_groups(plain, recipe.train.groups)
    # Over the same layers: the plain model stays uncompiled, so that what is saved of it is free of the optimizer's
    # state, two thirds of the file.
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
    return plain, model, steps


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

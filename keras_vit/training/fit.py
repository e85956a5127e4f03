"""`model.fit` with everything that watches it, from wherever a run is to its end."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from keras_vit.build import preprocessing_of
from keras_vit.data import Arrivals, Data, Decoded, batch_indices, decode_all, eval_dataset, train_dataset
from keras_vit.explain import can_be_looked_into
from keras_vit.tasks import Task
from keras_vit.training.average import ValidateAverage
from keras_vit.training.devices import resolve_precision
from keras_vit.training.faults import Diverged, divergence, explained
from keras_vit.training.figures import AddFigures
from keras_vit.training.flops import forward_graph, peak_of_all, training_multiply_adds
from keras_vit.training.flow import Flow
from keras_vit.training.keep import KeepState
from keras_vit.training.looking import ShowLooks, epochs_to_look_after
from keras_vit.training.optimizers import make_schedule
from keras_vit.training.pace import Pace
from keras_vit.training.progress import ShowProgress
from keras_vit.training.recipe import Recipe
from keras_vit.training.signals import StopSignals
from keras_vit.training.team import Team
from keras_vit.training.tensorboard import ShowPictures, ShowSteps, ShowWeights
from keras_vit.training.trainer import TrainingModel


def learn(
    recipe: Recipe,
    folder: Path,
    model: TrainingModel,
    steps: int,
    data: Data,
    task: Task,
    keep: KeepState,
    further: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Trains to the end; after a divergence from the last checkpoint on, as often as the recipe allows.

    `further` callbacks are called after all others.
    """

    def due(step):
        """The examples of a batch of this epoch."""
        order = {"batch_size": recipe.train.batch_size, "seed": recipe.seed}
        return data.train.subset(batch_indices(len(data.train), epoch=keep.state.epoch, step=step, **order))

    with (
        StopSignals() as signals,
        explained(folder, lambda: due(keep.state.step), lambda: data.val, lambda: data.train),
    ):
        channels = preprocessing_of(model).channels
        decoded = decode_all(data.train, channels, recipe.data.cache, size=recipe.data.cache_size)
        while True:
            try:
                return _fit_on(recipe, folder, model, steps, data, task, keep, signals, decoded, further)
            except Diverged as error:
                images = due(error.step - 1).names
                if not keep.go_back(model):
                    raise divergence(error, images) from None
                place = f"epoch {keep.state.epoch + 1} after step {keep.state.step}"
                print(f"{error}: back to {place}, and on with {keep.rate_factor:g} times the learning rate")


def _fit_on(recipe, folder, model, steps, data, task, keep, signals, decoded, further) -> None:
    """`model.fit` from where the run is, with everything that watches it. The order of the callbacks matters: figures
    are complete before they are kept."""
    batch_size, record, logs = recipe.train.batch_size, preprocessing_of(model), folder / "logs"
    dtype = keras.DTypePolicy(resolve_precision(recipe.train.precision)).compute_dtype
    # Measured before the pipeline begins to work.
    peak = peak_of_all(model.distribute_strategy, dtype, keep.team.count)
    if keep.state.diverged:
        slower = dataclasses.replace(recipe.train, learning_rate=recipe.train.learning_rate * keep.rate_factor)
        model.optimizer.learning_rate = make_schedule(slower, steps)
        model.make_train_function(force=True)
    dataset, _ = training_data(
        recipe, data, model, task, keep.state.epoch, keep.state.step, team=keep.team, decoded=decoded
    )
    validation = eval_dataset(
        data.val, record, labels=task.labels, num_classes=len(data.class_names), batch_size=batch_size
    )
    graph, arrivals = functools.cache(lambda: forward_graph(keep.plain)), Arrivals()
    pace = Pace(arrivals, batch_size, lambda: training_multiply_adds(keep.plain, graph()), peak)
    callbacks = [ValidateAverage(), AddFigures(task, data.val, record, batch_size), pace]
    if keep.team.chief:
        done = keep.state.epoch * steps + keep.state.step
        callbacks += [
            ShowProgress(done, recipe.train.epochs, steps, keep.monitor),
            keras.callbacks.TensorBoard(
                logs,
                histogram_freq=int(recipe.log.histograms),
                write_graph=False,
                profile_batch=recipe.log.profile or 0,
            ),
            ShowPictures(logs, task, dataset, data.val, record),
            ShowWeights(logs, graph),
        ]
        if recipe.log.looks and can_be_looked_into(keep.plain):
            after = epochs_to_look_after(recipe.train.epochs, recipe.log.looks)
            callbacks.append(ShowLooks(logs, keep.plain, data.val, record, after))
        if recipe.log.every:
            callbacks.append(ShowSteps(logs, recipe.log.every, steps))
    callbacks += [keep, *further]
    flow = Flow(callbacks, model, keep, steps, signals, dataset.element_spec[1])
    try:
        model.fit(
            keep.team.spread(arrivals.watch(dataset), model.distribute_strategy),
            epochs=recipe.train.epochs,
            initial_epoch=keep.state.epoch,
            steps_per_epoch=steps,
            validation_data=validation,
            callbacks=flow,
            shuffle=False,  # the pipeline shuffles, repeatably
            verbose=0,
        )
    except BaseException:
        flow.close()
        raise
    if keep.team.chief:
        # Caching is no remedy where it is on, or had no room.
        for line in pace.summary(cacheable=recipe.data.cache == "none" and recipe.train.epochs > 1):
            print(line)


def training_data(
    recipe: Recipe,
    data: Data,
    model: keras.Model,
    task: Task,
    epoch: int = 0,
    step: int = 0,
    *,
    team: Team,
    decoded: Decoded | None = None,
) -> tuple[tf.data.Dataset, int]:
    """This process's part of the training batches from a step of an epoch on, and the number of steps in an epoch."""
    return train_dataset(
        data.train,
        preprocessing_of(model),
        recipe.augment,
        labels=task.labels,
        num_classes=len(data.class_names),
        batch_size=recipe.train.batch_size,
        seed=recipe.seed,
        start_epoch=epoch,
        start_step=step,
        share=(team.rank, team.count),
        decoded=decoded,
    )

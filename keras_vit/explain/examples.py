"""The worst and the best examples of a judged split, with what the model looked at in each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np

from keras_vit.build import preprocessing_of
from keras_vit.data import Examples, image_dataset
from keras_vit.evaluation import RIGHT, WRONG, Look, Looks, sized, strip
from keras_vit.explain.asked import answers
from keras_vit.explain.overlay import overlay
from keras_vit.explain.replay import can_be_looked_into, replay_of
from keras_vit.explain.saliency import saliency
from keras_vit.tasks import Task
from keras_vit.tasks.task import original

SIDE = 320
"""Pixels of the longer side of a panel: a phone's screen shows two or three of them side by side."""
METHOD = "relevance"
"""It tells classes apart, which attention and its rollout do not: of a mistake that is the question."""
WORDS = (
    "What the model looked at, by gradient-weighted relevance (Chefer et al., 2021): the brighter the colour, the more "
    "a place speaks for the answer that is named above it. What is dark and grey the model did not see."
)


def look_at(
    model: keras.Model, examples: Examples, task: Task, order: Sequence[int] | None, *, count: int = 6
) -> Looks | None:
    """Pictures of the examples that a model did worst and best on, of what it said and of what it looked at.

    Args:
        model: trained for the task.
        examples: that were judged.
        task: what the model was trained for.
        order: indices of the examples from the worst to the best, as `Assessment.order`.
        count: so many of the worst, and of the rest so many of the best, at most.

    Returns:
        None where there is nothing to be seen: no order, no count, or a model that is not of this package.
    """
    if order is None or not count or not can_be_looked_into(model):
        return None
    worst, best = list(order[:count]), list(order[count:][::-1][:count])
    chosen = examples.subset([*worst, *best])
    record, outputs = preprocessing_of(model), partial(answers, model)
    (views,) = image_dataset(chosen, record, batch_size=len(chosen)).as_numpy_iterator()
    # Twice the same batch: a box that is found only just is found again.
    said = list(task.predictions(outputs, chosen, record, batch_size=len(chosen), progress=False))
    photos = [original(chosen, index, record.channels) for index in range(len(chosen))]
    shown = [task.present(photos[i], prediction, chosen, i, SIDE) for i, prediction in enumerate(said)]
    heats = _heats(model, views, task, outputs(views), [list(one.asked.values()) for one in shown])
    looks = []
    for index, name in enumerate(chosen.names):
        title, colour = task.verdict(said[index], chosen, index)
        small, patch_size = sized(photos[index], SIDE), replay_of(model).patch_size
        drawn = [overlay(small, heat, record, patch_size=patch_size) for heat in heats[index]]
        looks.append(
            Look(
                # Where all of it lies is nobody's business who is shown the page.
                "/".join(Path(name).parts[-2:]),
                tuple(filter(None, (*title.split("\n"), shown[index].score))),
                {RIGHT: True, WRONG: False}.get(colour),
                (*shown[index].pictures, *shown[index].asked),
                strip([*shown[index].pictures.values(), *drawn]),
                shown[index].legend,
            )
        )
    return Looks(WORDS, tuple(looks[: len(worst)]), tuple(looks[len(worst) :]))


def _heats(
    model: keras.Model, views: np.ndarray, task: Task, outputs: np.ndarray, asked: list[list[int | str]]
) -> list[list[np.ndarray]]:
    """For each image its maps, one for each thing that is asked about it."""
    heats = [[] for _ in views]
    for turn in range(max(map(len, asked))):
        rows = [row for row, wanted in enumerate(asked) if turn < len(wanted)]
        aim = task.aim(outputs[rows], [asked[row][turn] for row in rows])
        for row, heat in zip(rows, saliency(model, views[rows], METHOD, aim=aim, task=task), strict=True):
            heats[row].append(heat)
    return heats

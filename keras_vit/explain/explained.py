"""Examples explained one after the other: what was said of each, and where in it that came from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from keras_vit.build import preprocessing_of
from keras_vit.data import Examples, image_dataset
from keras_vit.data.geometry import boxes_to_original
from keras_vit.explain.attention import attention
from keras_vit.explain.saliency import saliency
from keras_vit.tasks import Task, outputs_of
from keras_vit.tasks.explaining import Aim, NothingFound
from keras_vit.tasks.task import original, shown


@dataclass(frozen=True)
class Explained:
    """One image.

    Attributes:
        index: of the image among the examples.
        photo: (H, W, channels) uint8, the image as it was given.
        title: what was predicted and, where that is known, what is true; see `Task.verdict`.
        colour: of the title.
        aim: what is explained, in words.
        heats: method -> (h, w) over the model's input, see `saliency`; `attention_block_5_head_2` where these were
            chosen.
        boxes: (k, 4) float32, those that are explained, in pixels of the photo; none but for detectors.
    """

    index: int
    photo: np.ndarray
    title: str
    colour: str
    aim: str
    heats: Mapping[str, np.ndarray]
    boxes: np.ndarray


def explain_examples(
    model: keras.Model,
    task: Task,
    examples: Examples,
    methods: Sequence[str] = ("relevance",),
    *,
    wanted: int | str | None = None,
    labelled: bool = False,
    block: int | None = None,
    head: int | None = None,
    batch_size: int = 8,
    progress: bool = True,
) -> Iterator[Explained]:
    """Explains a model's answers, image by image in their order.

    Images in which there is nothing to explain, such as no box of a wanted class, are passed over.

    Args:
        model: made by `keras_vit.build`, or reloaded.
        task: what it was trained for.
        examples: the images.
        methods: names in `METHODS`.
        wanted: what is explained, see `Task.aim`; by default each image's own prediction.
        labelled: whether the examples' labels are true and belong into the titles; classes below 0 are not known.
        block, head: numbers of those that `attention` shows; by default the last block, and the mean of its heads.
        batch_size: images at a time.
        progress: show a bar.

    Raises:
        InputError: no such method, class, block or head.
    """
    preprocessing, outputs = preprocessing_of(model), outputs_of(model)
    said = task.predictions(outputs, examples, preprocessing, batch_size=batch_size, progress=False)
    dataset = image_dataset(examples, preprocessing, batch_size=batch_size)
    first = 0
    for batch in shown(dataset, -(-len(examples) // batch_size), progress):
        images = np.asarray(batch)
        given = outputs(images)
        predictions = list(itertools.islice(said, len(images)))
        aims = [_aim(task, given[i : i + 1], wanted) for i in range(len(images))]
        there = [i for i, aim in enumerate(aims) if aim is not None]
        if there:
            aim = Aim(np.concatenate([aims[i].weights for i in there]), [aims[i].names[0] for i in there])
            heats = {}
            for method in methods:
                if method == "attention":
                    heats[_shown(block, head)] = _attention(model, images[there], block, head)
                else:
                    heats[method] = saliency(model, images[there], method, aim=aim, task=task)
            boxes = task.aimed_boxes(given[there], aim)
            for place, i in enumerate(there):
                photo = original(examples, first + i, preprocessing.channels)
                yield Explained(
                    first + i,
                    photo,
                    *task.verdict(predictions[i], examples if labelled else None, first + i),
                    aim.names[place],
                    {method: found[place] for method, found in heats.items()},
                    boxes_to_original(boxes[place], photo.shape[:2], preprocessing),
                )
        first += len(images)


def _shown(block: int | None, head: int | None) -> str:
    """What the method attention is called: `attention_block_5_head_2`."""
    chosen = {"block": block, "head": head}
    return "_".join(["attention", *(f"{what}_{number}" for what, number in chosen.items() if number is not None)])


def _attention(model: keras.Model, images: np.ndarray, block: int | None, head: int | None) -> np.ndarray:
    """What the tokens that the answer is read from look at: (B, h, w), the mean where no head is chosen."""
    layers, heads = [-1 if block is None else block], None if head is None else [head]
    return attention(model, images, layers, heads).maps().mean(axis=(1, 2))


def _aim(task: Task, output: np.ndarray, wanted: int | str | None) -> Aim | None:
    """Of one image; None where there is nothing to explain."""
    try:
        return task.aim(output, wanted)
    except NothingFound:
        return None

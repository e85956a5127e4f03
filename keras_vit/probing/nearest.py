"""The nearest training images of an image, as records and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_vit import evaluation
from keras_vit.data import Examples, image_dataset
from keras_vit.preprocessing import Preprocessing
from keras_vit.tasks.task import pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def nearest_records(
    queries: Examples,
    train: Examples,
    similarities: np.ndarray,
    indices: np.ndarray,
    class_names: Sequence[str],
) -> list[dict]:
    """What `neighbours` found, as plain rows: `{"file", "label", "nearest": [{"file", "label", "similarity"}, ...]}`.

    Args:
        queries: m images with classes.
        train: the images among which neighbours were looked for.
        similarities: (m, k), the nearest first.
        indices: (m, k), of `train`.
        class_names: of the labels.
    """
    return [
        {
            "file": queries.names[row],
            "label": class_names[queries.labels[row]],
            "nearest": [
                {
                    "file": train.names[index],
                    "label": class_names[train.labels[index]],
                    "similarity": round(float(similarity), 6),
                }
                for similarity, index in zip(similarities[row], indices[row], strict=True)
            ],
        }
        for row in range(len(queries))
    ]


def nearest_sheet(
    queries: Examples,
    train: Examples,
    similarities: np.ndarray,
    indices: np.ndarray,
    class_names: Sequence[str],
    preprocessing: Preprocessing,
) -> Figure:
    """A contact sheet: in each row a query, then its nearest training images with label and similarity.

    Labels that are the query's are blue, others are vermilion and carry a `not`. Images are as the model sees them.

    Args:
        queries: m images with classes.
        train: the images among which neighbours were looked for.
        similarities: (m, k), the nearest first.
        indices: (m, k), of `train`.
        class_names: of the labels.
        preprocessing: of the model.
    """
    k = indices.shape[1]
    asked = _views(queries, preprocessing)
    near = _views(train.subset(indices.ravel()), preprocessing)
    images, titles, colours = [], [], []
    for row in range(len(queries)):
        truth = queries.labels[row]
        images.append(asked[row])
        titles.append(f"query: {class_names[truth]}\n{Path(queries.names[row]).name}")
        colours.append("black")
        for place, (similarity, index) in enumerate(zip(similarities[row], indices[row], strict=True)):
            label, same = train.labels[index], train.labels[index] == truth
            images.append(near[row * k + place])
            titles.append(
                f"{'' if same else 'not: '}{class_names[label]} {similarity:.2f}\n{Path(train.names[index]).name}"
            )
            colours.append(evaluation.RIGHT if same else evaluation.WRONG)
    return evaluation.contact_sheet(images, titles, columns=k + 1, colours=colours)


def _views(examples: Examples, preprocessing: Preprocessing) -> np.ndarray:
    (views,) = image_dataset(examples, preprocessing, batch_size=len(examples))
    return pixels(np.asarray(views))

"""TensorBoard's embedding projector: images as points, where like lies beside like in the eyes of the model."""

from __future__ import annotations

import io
import math
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from keras_vit.data import Examples, image_dataset
from keras_vit.evaluation import sized, tiled
from keras_vit.files import write_bytes, write_text
from keras_vit.probing import Embedder
from keras_vit.tasks import Task
from keras_vit.tasks.task import pixels

FEATURES, METADATA, SPRITE = "features.tsv", "features_metadata.tsv", "features_sprite.png"
SIDE = 48
"""Pixels of a thumbnail's side."""
BATCH = 64


def write_embedding(folder: Path, model: keras.Model, examples: Examples, task: Task, most: int) -> None:
    """Writes pooled features of images, their classes and names, and their thumbnails, where TensorBoard looks for
    them: in a folder with an event file.

    Args:
        folder: one of TensorBoard's.
        model: made by `keras_vit.build`, or reloaded.
        examples: labelled; of more than `most` every k-th is taken.
        task: knows what each example is.
        most: images.
    """
    # Here and not above: only training needs it.
    from google.protobuf import text_format
    from tensorboard.plugins import projector
    from tensorboard.plugins.projector.metadata import PROJECTOR_FILENAME

    chosen = examples.subset(np.unique(np.linspace(0, len(examples) - 1, min(most, len(examples))).astype(int)))
    embedder, features, thumbnails = Embedder(model), [], []
    for views in image_dataset(chosen, embedder.preprocessing, batch_size=BATCH).as_numpy_iterator():
        features += list(embedder(views))
        thumbnails += [_thumbnail(view) for view in pixels(views)]
    write_text(folder / FEATURES, "".join("\t".join(f"{value:.5g}" for value in row) + "\n" for row in features))
    rows = [("class", "file"), *((task.kind(chosen, i), chosen.names[i]) for i in range(len(chosen)))]
    write_text(folder / METADATA, "".join("\t".join(map(_cell, row)) + "\n" for row in rows))
    write_bytes(folder / SPRITE, _sprite(thumbnails))
    config = projector.ProjectorConfig()
    entry = config.embeddings.add()
    entry.tensor_name, entry.tensor_path, entry.metadata_path = "features of validation images", FEATURES, METADATA
    entry.tensor_shape.extend(np.shape(features))
    entry.sprite.image_path = SPRITE
    entry.sprite.single_image_dim.extend([SIDE, SIDE])
    write_text(folder / PROJECTOR_FILENAME, text_format.MessageToString(config))


def _cell(value: str) -> str:
    """A tab or a line's end would begin another cell."""
    return " ".join(value.split())


def _sprite(thumbnails: list[np.ndarray]) -> bytes:
    """All thumbnails in one square PNG, row by row, as the projector cuts them."""
    side = math.ceil(math.sqrt(len(thumbnails)))
    blank = [np.full((SIDE, SIDE, 3), 255, np.uint8)] * (side**2 - len(thumbnails))
    buffer = io.BytesIO()
    Image.fromarray(tiled([*thumbnails, *blank], side, gap=0)).save(buffer, "PNG")
    return buffer.getvalue()


def _thumbnail(view: np.ndarray) -> np.ndarray:
    """The view in the middle of a white square."""
    small = sized(view, SIDE)
    thumbnail = np.full((SIDE, SIDE, 3), 255, np.uint8)
    top, left = (SIDE - small.shape[0]) // 2, (SIDE - small.shape[1]) // 2
    thumbnail[top : top + small.shape[0], left : left + small.shape[1]] = small
    return thumbnail

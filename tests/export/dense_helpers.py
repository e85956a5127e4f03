"""Tiny models of every dense head, and images with masks or boxes for them."""

from __future__ import annotations

import keras
import numpy as np

import keras_vit
from keras_vit.data import Examples
from keras_vit.data.boxes import make_boxes
from keras_vit.data.masks import Masks
from keras_vit.heads import HEADS
from keras_vit.tasks import Task, make_task

NAMES = ("ant", "bee", "cow")
IMAGE_SIZE = (36, 44)
"""No multiple of the patches: the image is filled up inside."""

DENSE_HEADS = [(task, head) for task, heads in HEADS.items() if heads.dense for head in heads.by_name]
"""Every dense head there is."""

SMALL = {"fpn": {"width": 16}, "upernet": {"width": 16}, "dpt": {"width": 16}, "pup": {"width": 16}}
SMALL["anchor_free"] = {"width": 16, "depth": 1}
"""Options that make a head small."""


def dense_model(task: str, head: str, randomize, name: str = "vit_mu16", **settings) -> keras.Model:
    settings = {"image_size": IMAGE_SIZE, "depth": 2, "head_options": SMALL.get(head), "seed": 0} | settings
    model = keras_vit.build(name, task=task, head=head, num_classes=len(NAMES), **settings)
    randomize(model)
    return model


def dense_examples(task: str, count: int = 8) -> tuple[Task, Examples]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *IMAGE_SIZE, 3), "uint8")
    if task == "segmentation":
        labels = Masks([rng.integers(0, 3, IMAGE_SIZE).astype("uint8") for _ in range(count)], {0: 0, 1: 1, 2: 2})
    else:
        labels = make_boxes([[(4, 6, 20, 30, index % 3, False, None)] for index in range(count)])
    return make_task(task, NAMES), Examples(labels=labels, images=images)

"""A task is one object: how its labels are read, its loss and metrics, and how its outputs are judged and drawn."""

from __future__ import annotations

from keras_vit.tasks.classification import Classification
from keras_vit.tasks.detection import Detection
from keras_vit.tasks.judging import evaluate, judge, outputs_of
from keras_vit.tasks.segmentation import Segmentation
from keras_vit.tasks.task import Task, make_task

TASKS: dict[str, type[Task]] = {
    "classification": Classification,
    "segmentation": Segmentation,
    "detection": Detection,
}
"""Task name -> its class. A task of your own is an entry here and one in `keras_vit.heads.HEADS`."""

__all__ = [
    "TASKS",
    "Classification",
    "Detection",
    "Segmentation",
    "Task",
    "evaluate",
    "judge",
    "make_task",
    "outputs_of",
]

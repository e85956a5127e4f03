"""Average precision as COCO measures it, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np

from keras_vit.data.boxes import Boxes
from keras_vit.errors import InputError
from keras_vit.tasks.detection.suppression import Detections

SUMMARY = {"ap": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "ar100": 8}
"""Our names of pycocotools' figures. Small is below 32 x 32 pixels of the original image, large from 96 x 96."""


def coco_figures(
    predictions: Sequence[Detections], labels: Boxes, class_names: Sequence[str]
) -> tuple[dict[str, float | int | None], list[dict]]:
    """COCO's figures of a split.

    What is found in a crowd counts neither for nor against a detector. Where there is nothing to find, in an image, of
    a size or of a class, there is no figure: it is None, and the means leave it out.

    Args:
        predictions: for each image what was found, in pixels of the original image.
        labels: the truth about the same images.
        class_names: C names.

    Returns:
        `ap ap50 ap75 ap_small ap_medium ap_large ar100` as fractions and `n`, the number of images; and for each class
        `{"name", "ap", "ap50", "boxes"}`, the last without crowds.

    Raises:
        InputError: another number of predictions than of images, or a class that has no name.
    """
    if len(predictions) != len(labels):
        raise InputError(f"{len(predictions)} predictions came for {len(labels)} images: give one for each.")
    for source in (*labels.classes, *(found.classes for found in predictions)):
        if len(source) and not 0 <= source.min() <= source.max() < len(class_names):
            raise InputError(f"There are {len(class_names)} class names and a box of class {source.max()}.")
    # pycocotools tells its progress by print.
    with contextlib.redirect_stdout(io.StringIO()):
        judged = _evaluate(_truth(labels), _said(predictions), len(labels), len(class_names))
    figures = {name: _figure(judged.stats[place]) for name, place in SUMMARY.items()}
    # (IoU thresholds, recalls, classes, areas, most detections); -1 where there is nothing to find.
    precision = judged.eval["precision"][:, :, :, 0, -1]
    counts = labels.counts(list(class_names))
    per_class = [
        {
            "name": name,
            "ap": _figure(precision[:, :, index].mean()),
            "ap50": _figure(precision[0, :, index].mean()),
            "boxes": counts[name],
        }
        for index, name in enumerate(class_names)
    ]
    return {**figures, "n": len(labels)}, per_class


def _evaluate(truth: list[dict], said: list[dict], images: int, classes: int):
    from pycocotools.cocoeval import COCOeval

    judge = COCOeval(_coco(truth, images, classes), _coco(said, images, classes), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return judge


def _coco(annotations: list[dict], images: int, classes: int):
    """An index of annotations, also of none, which `loadRes` does not take."""
    from pycocotools.coco import COCO

    index = COCO()
    index.dataset = {
        "images": [{"id": image} for image in range(images)],
        "categories": [{"id": category} for category in range(classes)],
        # From 1: pycocotools takes a match with number 0 for none.
        "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations, start=1)],
    }
    index.createIndex()
    return index


def _truth(labels: Boxes) -> list[dict]:
    return [
        {**_row(image, box, category), "area": float(area), "iscrowd": int(crowd)}
        for image in range(len(labels))
        for box, category, area, crowd in zip(
            labels.boxes[image], labels.classes[image], labels.areas[image], labels.crowd[image], strict=True
        )
    ]


def _said(predictions: Sequence[Detections]) -> list[dict]:
    rows = []
    for image, found in enumerate(predictions):
        for box, category, score in zip(found.boxes, found.classes, found.scores, strict=True):
            row = _row(image, box, category)
            rows.append({**row, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0, "score": float(score)})
    return rows


def _row(image: int, box: np.ndarray, category: int) -> dict:
    x0, y0, x1, y1 = map(float, box)
    return {"image_id": image, "category_id": int(category), "bbox": [x0, y0, x1 - x0, y1 - y0]}


def _figure(value: float) -> float | None:
    return None if value < 0 else float(value)

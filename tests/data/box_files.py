"""The same five images with boxes, written as COCO, Pascal VOC and YOLO."""

from __future__ import annotations

import json
from pathlib import Path

from keras_vit.data import BOXES, load

WIDTH, HEIGHT = 40, 30
# Of each image (x0, y0, x1, y1, class): the third has none.
OBJECTS = [[(2, 3, 20, 18, 0), (10, 5, 40, 30, 1)], [(0, 0, 40, 30, 1)], [], [(5, 6, 8, 9, 0)], [(1, 1, 3, 5, 1)]]
NAMES = ["cat", "dog"]
SPLITS = {"train": (0, 1, 2), "val": (3,), "test": (4,)}


def coco(images=range(5)) -> dict:
    annotations = [
        {"image_id": i, "category_id": 3 + 4 * label, "bbox": [x0, y0, x1 - x0, y1 - y0]}
        for i in images
        for x0, y0, x1, y1, label in OBJECTS[i]
    ]
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": WIDTH, "height": HEIGHT} for i in images],
        "annotations": [{"id": number, **row} for number, row in enumerate(annotations)],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    }


def write(path: Path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def voc(i: int, extra: str = "") -> str:
    def item(x0, y0, x1, y1, label):
        corners = f"<xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        return f"<object><name>{NAMES[label]}</name><difficult>0</difficult><bndbox>{corners}</bndbox></object>"

    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    return f"<annotation>{size}{''.join(item(*row) for row in OBJECTS[i])}{extra}</annotation>"


def yolo(i: int) -> str:
    return "\n".join(
        f"{label} {(x0 + x1) / 2 / WIDTH} {(y0 + y1) / 2 / HEIGHT} {(x1 - x0) / WIDTH} {(y1 - y0) / HEIGHT}"
        for x0, y0, x1, y1, label in OBJECTS[i]
    )


def whole(spec):
    return load(str(spec), labels=BOXES, val_fraction=0, test_fraction=0)

"""COCO's figures equal pycocotools on the raw files, and stand the cases that pycocotools trips over."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_vit.data.boxes import Boxes, make_boxes
from keras_vit.errors import InputError
from keras_vit.tasks.detection.coco import SUMMARY, coco_figures
from keras_vit.tasks.detection.suppression import Detections

NAMES = ["round", "square"]
BOX = (10.0, 10.0, 50.0, 60.0)


def found(*rows) -> Detections:
    """Detections from rows of (x0, y0, x1, y1, class, score)."""
    table = np.array(rows, "float32").reshape(-1, 6)
    return Detections(table[:, :4], table[:, 5], table[:, 4].astype("int64"))


def from_raw(raw: dict) -> Boxes:
    rows = {image["id"]: [] for image in raw["images"]}
    number = {category["id"]: index for index, category in enumerate(raw["categories"])}
    for each in raw["annotations"]:
        x, y, w, h = each["bbox"]
        row = (x, y, x + w, y + h, number[each["category_id"]], bool(each["iscrowd"]), each["area"])
        rows[each["image_id"]].append(row)
    return make_boxes([rows[image["id"]] for image in raw["images"]])


def guesses(truth: Boxes, classes: int, seed: int) -> list[Detections]:
    """Shifted copies of most boxes, some of another class, and boxes of nothing."""
    rng, predictions = np.random.default_rng(seed), []
    for boxes, labels in zip(truth.boxes, truth.classes, strict=True):
        near = boxes + rng.normal(0, 6, boxes.shape)
        labels = np.where(rng.random(len(labels)) < 0.1, rng.integers(0, classes, len(labels)), labels)
        corner = rng.uniform(0, 400, (8, 2))
        rows = [*near[rng.random(len(near)) < 0.8], *np.concatenate([corner, corner + rng.uniform(5, 200, (8, 2))], 1)]
        labels = np.resize(labels, len(rows)) if len(labels) else rng.integers(0, classes, len(rows))
        predictions.append(found(*np.column_stack([rows, labels, rng.random(len(rows))])))
    return predictions


@pytest.mark.parametrize("hard", [False, True])
def test_equals_pycocotools_on_the_raw_file(shared_data, tmp_path, hard):
    raw = json.loads((shared_data / "bccd" / "instances_test.json").read_text())
    rng = np.random.default_rng(0)
    if hard:  # crowds, areas of masks, images whose numbers are in no order, images without boxes
        for each in raw["annotations"]:
            each["iscrowd"] = int(rng.random() < 0.1)
            each["area"] *= rng.uniform(0.05, 1)
        bare = {image["id"] for image in raw["images"][::7]}
        raw["annotations"] = [each for each in raw["annotations"] if each["image_id"] not in bare]
        rng.shuffle(raw["images"])
    names = [category["name"] for category in raw["categories"]]
    truth = from_raw(raw)
    predictions = guesses(truth, len(names), 1)
    figures, per_class = coco_figures(predictions, truth, names)

    (tmp_path / "truth.json").write_text(json.dumps(raw))
    rows = [
        {
            "image_id": image["id"],
            "category_id": raw["categories"][label]["id"],
            "bbox": [float(v) for v in (*box[:2], *(box[2:] - box[:2]))],
            "score": float(score),
        }
        for image, said in zip(raw["images"], predictions, strict=True)
        for box, label, score in zip(said.boxes, said.classes, said.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCO(str(tmp_path / "truth.json"))
        judge = COCOeval(judge, judge.loadRes(rows), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
        overall = [None if value < 0 else value for value in judge.stats]
        assert figures.pop("n") == len(raw["images"])
        assert figures == pytest.approx({name: overall[place] for name, place in SUMMARY.items()}, abs=1e-6)
        for row, category in zip(per_class, raw["categories"], strict=True):
            judge.params.catIds = [category["id"]]
            judge.evaluate()
            judge.accumulate()
            judge.summarize()
            assert row["name"] == category["name"]
            assert (row["ap"], row["ap50"]) == pytest.approx(tuple(judge.stats[:2]), abs=1e-6)


def test_perfect_detections():
    truth = make_boxes([[(*BOX, 0, False, None)], [], [(0, 0, 20, 20, 1, False, None), (30, 0, 150, 120, 1, False, 9)]])
    said = [found((*BOX, 0, 0.3)), found(), found((0, 0, 20, 20, 1, 0.9), (30, 0, 150, 120, 1, 0.1))]
    figures, per_class = coco_figures(said, truth, NAMES)
    everything = dict.fromkeys(SUMMARY, 1.0) | {"ap_large": None, "n": 3}  # the file's area says: small
    assert figures == pytest.approx(everything)
    assert [row["boxes"] for row in per_class] == [1, 2]


def test_classes_without_boxes_have_no_figure_and_do_not_count():
    truth = make_boxes([[(*BOX, 0, False, None)]])
    figures, per_class = coco_figures([found((*BOX, 0, 0.9), (*BOX, 1, 0.8))], truth, NAMES)
    assert figures["ap"] == pytest.approx(1.0)
    assert per_class[1] == {"name": "square", "ap": None, "ap50": None, "boxes": 0}


@pytest.mark.parametrize("said", [found(), found((*BOX, 0, 0.9))])
def test_nothing_to_find_is_no_figure(said):
    figures, per_class = coco_figures([said, found()], make_boxes([[], []]), NAMES)
    assert set(figures.values()) == {None, 2}
    assert {row["ap"] for row in per_class} == {None}


def test_finding_nothing_is_zero():
    figures, per_class = coco_figures([found()], make_boxes([[(*BOX, 0, False, None)]]), NAMES)
    assert (figures["ap"], figures["ar100"], figures["ap_small"], per_class[0]["ap50"]) == (0, 0, None, 0)


def test_what_lies_in_a_crowd_is_no_mistake():
    truth = make_boxes([[(0, 0, 100, 100, 0, True, None), (200, 200, 250, 250, 0, False, None)]])
    said = [found((5, 5, 30, 30, 0, 0.9), (50, 50, 90, 90, 0, 0.8), (200, 200, 250, 250, 0, 0.7))]
    figures, per_class = coco_figures(said, truth, NAMES)
    assert figures["ap"] == pytest.approx(1.0)
    assert per_class[0]["boxes"] == 1


def test_the_first_object_is_matched_too():
    """pycocotools takes a match with annotation 0 for none."""
    figures, _ = coco_figures([found((*BOX, 0, 0.9))], make_boxes([[(*BOX, 0, False, None)]]), NAMES)
    assert figures["ap"] == pytest.approx(1.0)


def test_it_prints_nothing(capfd):
    coco_figures([found((*BOX, 0, 0.9))], make_boxes([[(*BOX, 0, False, None)]]), NAMES)
    assert capfd.readouterr().out == ""


def test_what_does_not_fit_gets_one_sentence():
    truth = make_boxes([[(*BOX, 0, False, None)]])
    with pytest.raises(InputError, match="2 predictions came for 1 images"):
        coco_figures([found(), found()], truth, NAMES)
    with pytest.raises(InputError, match="2 class names and a box of class 2"):
        coco_figures([found((*BOX, 2, 0.9))], truth, NAMES)

"""The example for small devices with detectors and segmenters: it finds what the package finds."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from dense_helpers import NAMES, dense_examples, dense_model
from edge_helpers import SCRIPT, edge_script
from PIL import Image

from keras_vit.data import find_images
from keras_vit.export import export, load
from keras_vit.preprocessing import Preprocessing
from keras_vit.tasks.detection.suppression import detect

RECORD = Preprocessing((36, 44), crop=1.0, fit="pad")


@pytest.fixture(scope="module")
def script():
    return edge_script()


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """Larger than the models' input, and of another shape."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 8, 3), np.uint8)
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(noise).resize((80, 120)).save(path)
    return path


@pytest.fixture(scope="module")
def exported(randomize, tmp_path_factory):
    """A function from a task and a format to the file of a small model with random weights."""

    def make(name: str, head: str, kind: str, **options):
        task, examples = dense_examples(name)
        task = replace(task, **options)
        folder = tmp_path_factory.mktemp(name)
        arguments = {"task": task, "validation": examples, "calibration": examples, "limit": 3}
        model = dense_model(name, head, randomize, preprocessing=RECORD)
        report = export(model, folder, formats=kind, allow_drop=True, progress=False, **arguments)
        return folder / report["artifacts"][0]["file"]

    return make


def crowded(seed: int, places: int = 300, classes: int = 4) -> np.ndarray:
    """Outputs (A, 4 + C) with many overlapping boxes of every class."""
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 60, (places, 2)), rng.uniform(1, 40, (places, 2))
    # No two scores are so near that rounding decides which is the surer.
    logits = rng.permuted(np.linspace(-6, 4, places * classes)).reshape(places, classes)
    return np.concatenate([corner, corner + size, logits], -1).astype("float32")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "options",
    [
        {"score_threshold": 0.01, "iou_threshold": 0.5, "max_detections": 100},
        {"score_threshold": 0.5, "iou_threshold": 0.9, "max_detections": 100},
        {"score_threshold": 0.01, "iou_threshold": 0.3, "max_detections": 7},
        {"score_threshold": 0.0, "iou_threshold": 1.0, "max_detections": 2000},
        {"score_threshold": 0.999, "iou_threshold": 0.5, "max_detections": 100},
    ],
)
def test_suppression_is_the_packages(script, seed, options):
    outputs = crowded(seed)
    (expected,) = detect(outputs[None], **options)
    found = script.found_objects(outputs[:, :4], 1 / (1 + np.exp(-outputs[:, 4:])), **options)
    assert len(found) == len(expected)
    assert [each[1] for each in found] == expected.classes.tolist()
    np.testing.assert_allclose([each[0] for each in found], expected.scores, atol=1e-6)
    np.testing.assert_array_equal(np.array([each[2] for each in found]).reshape(-1, 4), expected.boxes)


def test_a_detector(script, exported, photo, tmp_path):
    # Weights that nobody trained are sure of nothing.
    file = exported("detection", "anchor_free", "tflite", shown_score=0.0, max_detections=20)
    predictor = load(file)
    examples, _ = find_images([str(photo)])
    (expected,) = predictor.task.predictions(predictor.outputs, examples, RECORD, progress=False)
    command = [sys.executable, SCRIPT, file, photo, "--draw", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = re.findall(r"^ +([\d.]+)%  (\w+)  ([\d.]+), ([\d.]+), ([\d.]+), ([\d.]+)$", done.stdout, re.MULTILINE)
    assert len(rows) == len(expected) > 0
    assert [row[1] for row in rows] == [NAMES[index] for index in expected.classes]
    np.testing.assert_allclose([float(row[0]) / 100 for row in rows], expected.scores, atol=2e-3)
    np.testing.assert_allclose([[float(edge) for edge in row[2:]] for row in rows], expected.boxes, atol=0.3)
    drawn = np.asarray(Image.open(tmp_path / "out" / "photo.png"))
    assert drawn.shape == (120, 80, 3)
    assert (drawn != np.asarray(Image.open(photo))).any()


@pytest.mark.parametrize("kind", ["tflite", "tflite-int8"])
def test_a_segmenter(script, exported, photo, kind, tmp_path):
    file = exported("segmentation", "linear", kind)
    predictor = load(file)
    examples, _ = find_images([str(photo)])
    (expected,) = predictor.task.predictions(predictor.outputs, examples, RECORD, progress=False)
    command = [sys.executable, SCRIPT, file, photo, "--draw", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shares = {name: float(share) / 100 for share, name in re.findall(r"^ +([\d.]+)%  (\w+)$", done.stdout, re.M)}
    assert set(shares) == set(NAMES)
    # The package enlarges probabilities, the example takes the nearest class.
    wanted = np.bincount(expected.ravel(), minlength=3) / expected.size
    np.testing.assert_allclose([shares[name] for name in NAMES], wanted, atol=0.03)
    assert Image.open(tmp_path / "out" / "photo.png").size == (80, 120)

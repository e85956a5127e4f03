"""Segmentation and detection runs: exported, run in their runtimes, and used through the command line."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from dense_helpers import DENSE_HEADS, NAMES, dense_examples, dense_model

from keras_vit import InputError
from keras_vit.cli.main import main
from keras_vit.data import image_dataset
from keras_vit.data import load as load_data
from keras_vit.export import ExportMissed, export
from keras_vit.export.predictor import load
from keras_vit.tasks.detection.suppression import detect
from keras_vit.training import Recipe, train

EVERY = ("tflite", "tflite-int8-dynamic", "tflite-int8", "onnx", "saved_model")
SETTINGS = {
    "segmentation": {"train": {"epochs": 12}, "options": {"class_weights": "sqrt", "dice": 0.5}},
    "detection": {"train": {"epochs": 16}, "model": {"head_options": {"width": 32, "depth": 1, "strides": [8, 16]}}},
}
"""What each task needs to learn the shapes."""


FORMATS = {"segmentation": "tflite-int8-dynamic,onnx", "detection": "tflite,saved_model"}
"""Of the default tests; the slow ones take every format of every head."""


def recipe(task, shapes, out):
    model = {"name": "vit_mu8", "image_size": [36, 48], "init": "xavier", "position_init": "sincos"}
    training = {"batch_size": 8, "learning_rate": 3e-3, "warmup_epochs": 1}
    return Recipe.from_dict(
        {
            "data": {"spec": str(shapes)},
            "task": task,
            "model": model | SETTINGS[task].get("model", {}),
            "augment": {"scale": [0.8, 1.2], "color": 0.1},
            "train": training | SETTINGS[task]["train"],
            "options": SETTINGS[task].get("options", {}),
            "out": str(out),
        }
    )


@pytest.fixture(scope="module", params=["segmentation", pytest.param("detection", marks=pytest.mark.slow)])
def run(request, shapes, tmp_path_factory):
    """A run that has learned something."""
    return train(recipe(request.param, shapes, tmp_path_factory.mktemp("runs") / request.param), progress=False)


@pytest.fixture(scope="module")
def exported(run):
    """Its folder of exported files, made by the command line, and the report."""
    assert main(["export", str(run.folder), "--formats", FORMATS[run.recipe.task], "--max-drop", "5"]) == 0
    return run.folder / "export", json.loads((run.folder / "export" / "report.json").read_text())


def test_the_report_speaks_of_the_task(run, exported):
    folder, report = exported
    source = report["source"]
    assert source["task"]["name"] == run.recipe.task
    assert source["metric_name"] == run.task.metric
    assert source["metric"] == pytest.approx(run.metrics["val"][run.task.metric], abs=1e-6)
    for entry in report["artifacts"]:
        assert entry["ok"]
        assert set(entry["errors"]) == {part.name for part in run.task.parts}
        assert entry["agreement"] > 0.9
        if "int8" not in entry["format"]:
            assert entry["max_error"] < 1e-4
            assert abs(entry["metric"] - source["metric"]) < 1e-3
        assert not entry["inspection"].get("custom")
        assert not entry["inspection"].get("many_dimensions")
        assert not entry["inspection"].get("unknown_shapes")
    assert (folder / "labels.txt").read_text().splitlines() == run.class_names
    page = (folder / "report.html").read_text()
    assert {"miou": "mIoU", "ap": "AP"}[run.task.metric] in page


def test_a_file_alone_knows_its_task_and_says_what_the_run_says(run, exported, tmp_path):
    images = views(run)
    expected = np.asarray(run.model(images))
    for entry in exported[1]["artifacts"]:
        file = exported[0] / entry["file"]
        predictor = load((shutil.copytree if file.is_dir() else shutil.copy)(file, tmp_path / file.name))
        assert predictor.task == run.task
        assert predictor.record() == run.preprocessing
        assert predictor.outputs(images).shape == expected.shape
        same = [run.task.same(*pair) for pair in zip(predictor.predict(images), shipped(run, images), strict=True)]
        assert sum(agreed for agreed, _ in same) >= (0.9 if "int8" in file.name else 1.0) * sum(of for _, of in same)


def views(run):
    """The validation images (n, H, W, 3) as the model takes them."""
    data = load_data(run.recipe.data.spec, labels=run.task.labels)
    return np.concatenate([np.asarray(images) for images in image_dataset(data.val, run.preprocessing, batch_size=8)])


def shipped(run, images):
    """What a file should give."""
    found = run.task.shipped(tf.convert_to_tensor(run.model(images)))
    return np.concatenate([found[part.name] for part in run.task.parts], axis=-1)


def test_evaluate_and_predict_take_exported_files(run, exported, tmp_path, capsys):
    file = exported[0] / {"segmentation": "model.onnx", "detection": "model.tflite"}[run.recipe.task]
    assert main(["evaluate", str(file)]) == 0
    folder = run.folder / "evaluation" / file.name.replace(".", "_")
    figures = json.loads((folder / "metrics.json").read_text())["test"]
    expected = run.metrics["test"]
    assert figures["n"] == expected["n"]
    assert figures[run.task.metric] == pytest.approx(expected[run.task.metric], abs=0.01)
    images = load_data(run.recipe.data.spec, labels=run.task.labels).test.paths[:2]
    capsys.readouterr()
    told = []
    for source in (run.folder, file):
        assert main(["predict", str(source), *images, "--json", "-"]) == 0
        told.append(json.loads(capsys.readouterr().out))
    key = {"segmentation": "shares", "detection": "objects"}[run.recipe.task]
    assert [len(row[key]) for row in told[0]] == [len(row[key]) for row in told[1]]
    assert main(["predict", str(file), images[0], "--draw", str(tmp_path / "drawn")]) == 0
    assert len(list((tmp_path / "drawn").iterdir())) == 1


def test_a_detectors_saved_model_suppresses_by_itself(run, exported):
    if run.recipe.task != "detection":
        pytest.skip("of detectors")
    loaded, images = tf.saved_model.load(exported[0] / "saved_model"), views(run)
    found = {name: value.numpy() for name, value in loaded.signatures["detect"](image=tf.constant(images)).items()}
    assert sorted(found) == ["boxes", "classes", "count", "scores"]
    for index, expected in enumerate(detect(run.model(images))):
        count = found["count"][index]
        assert count == len(expected)
        np.testing.assert_allclose(found["boxes"][index, :count], expected.boxes, atol=1e-3)
        np.testing.assert_array_equal(found["classes"][index, :count], expected.classes)
    data = load_data(run.recipe.data.spec, labels=run.task.labels)
    encoded = tf.constant([data.val.raw(index) for index in range(2)])
    assert sorted(loaded.signatures["serve_bytes"](encoded=encoded)) == ["boxes", "scores"]


def test_disagreements_are_drawn(run, tmp_path):
    data = load_data(run.recipe.data.spec, labels=run.task.labels)
    arguments = {"task": run.task, "validation": data.val, "max_drop": -200, "progress": False}
    with pytest.raises(ExportMissed, match=r"points of (mIoU|AP), more than -200") as raised:
        export(run.model, tmp_path / "out", formats="tflite-int4-weights", **arguments)
    (entry,) = raised.value.report["artifacts"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count('<img class="wide" src="data:image/png;base64,') == len(entry["disagreements"])


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_wrong_names_are_one_sentence(task, randomize, tmp_path):
    made, examples = dense_examples(task)
    model = dense_model(task, None, randomize)
    fewer = type(made)(NAMES[:2])
    with pytest.raises(InputError, match="There are 2 class names for a model of 3 classes"):
        export(model, tmp_path / "out", task=fewer, validation=examples, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("task", "head"), DENSE_HEADS)
def test_every_head_in_every_format(task, head, randomize, tmp_path):
    made, examples = dense_examples(task)
    model = dense_model(task, head, randomize)
    arguments = {"task": made, "validation": examples, "calibration": examples, "threads": 1, "progress": False}
    report = export(model, tmp_path / "out", formats=EVERY, allow_drop=True, **arguments)
    found = {entry["format"]: entry for entry in report["artifacts"]}
    for name in ("tflite", "onnx", "saved_model"):
        assert found[name]["ok"], found[name]["misses"]
        assert found[name]["max_error"] < 1e-4
        assert found[name]["agreement"] > 0.999
    assert found["tflite"]["inspection"]["xnnpack"]["partitions"] == 1
    for entry in found.values():
        inside = entry["inspection"]
        assert [inside.get(key) for key in ("custom", "many_dimensions", "unknown_shapes") if inside.get(key)] == []
    assert found["tflite-int8-dynamic"]["agreement"] > 0.9
    assert found["tflite-int8"]["agreement"] > 0.5

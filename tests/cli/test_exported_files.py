"""Commands on exported files: predict, evaluate and benchmark."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from keras_vit.cli.main import main
from keras_vit.export import export_graph
from keras_vit.export.metadata import add_metadata
from keras_vit.export.onnx import write_onnx
from keras_vit.export.tflite import write_tflite


@pytest.fixture(scope="module")
def own(run, tmp_path_factory):
    """A copy of the finished run with two exported files, which say themselves what they are."""
    folder = shutil.copytree(run.folder, tmp_path_factory.mktemp("runs") / "own")
    about = {"class_names": run.class_names, "preprocessing": run.preprocessing}
    (folder / "export").mkdir()
    write_tflite(export_graph(run.model, batch=1), folder / "export" / "model.tflite")
    add_metadata(folder / "export" / "model.tflite", name="own", **about)
    write_onnx(export_graph(run.model), folder / "export" / "model.onnx", batch=None, **about)
    return folder


@pytest.fixture
def photos(blobs, tmp_path):
    """The test images, a folder a class."""
    with np.load(blobs) as arrays:
        for index, (image, label) in enumerate(zip(arrays["x_test"], arrays["y_test"], strict=True)):
            folder = tmp_path / "photos" / str(arrays["class_names"][label])
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{index:02}.png")
    return tmp_path / "photos"


def refused(capsys, *words) -> str:
    """Runs a command that must fail as wrong input: one sentence, no traceback, status 2."""
    assert main([str(word) for word in words]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("keras-vit: ")
    return said[-1]


@pytest.mark.parametrize("file", ["model.tflite", "model.onnx"])
def test_predict_says_what_the_run_says(file, own, photos, tmp_path, capsys):
    rows = []
    for source in (own, own / "export" / file):
        assert main(["predict", str(source), str(photos), "--json", "-"]) == 0
        rows.append(json.loads(capsys.readouterr().out))
    assert len(rows[1]) == 30
    for run, exported in zip(*rows, strict=True):
        assert run["file"] == exported["file"]
        expected = {guess["name"]: guess["probability"] for guess in run["top"]}
        assert {guess["name"]: guess["probability"] for guess in exported["top"]} == pytest.approx(expected, abs=1e-4)
    words = ["predict", own / "export" / file, f"{photos}/left/*.png", "--csv", tmp_path / "p.csv", "--top", "1"]
    assert main([str(word) for word in words]) == 0
    assert len(list(csv.DictReader((tmp_path / "p.csv").open()))) == 10


def test_evaluate_judges_a_file_on_the_data_of_its_run(own, capsys):
    before = (own / "metrics.json").read_text()
    file = own / "export" / "model.onnx"
    assert main(["evaluate", str(file)]) == 0
    assert "precision" in capsys.readouterr().out
    assert (own / "metrics.json").read_text() == before
    folder = own / "evaluation" / "model_onnx"
    figures = json.loads((folder / "metrics.json").read_text())["test"]
    expected = json.loads(before)["test"]
    assert figures["n"] == expected["n"] == 30
    assert figures["top1"] == expected["top1"]
    assert figures["loss"] == pytest.approx(expected["loss"], abs=1e-3)
    assert (folder / "test_confusion.png").is_file()


def test_evaluate_judges_a_file_from_elsewhere_on_other_data(own, photos, tmp_path, capsys):
    file = tmp_path / "model.tflite"
    shutil.copy(own / "export" / "model.tflite", file)
    assert "lies in no run folder, whose data it could be judged on: add --data" in refused(capsys, "evaluate", file)
    words = ["evaluate", file, "--data", photos, "--split", "all"]
    assert main([str(word) for word in words]) == 0
    figures = json.loads((tmp_path / "evaluation" / "model_tflite" / "photos" / "metrics.json").read_text())["all"]
    assert figures["n"] == 30
    assert figures["top1"] >= 0.9
    (photos / "left").rename(photos / "up")
    assert "has a class 'up'" in refused(capsys, *words)


def test_benchmark_of_a_run(own, capsys):
    assert main(["benchmark", str(own), "--rounds", "2", "--images", "3", "--threads", "1"]) == 0
    printed = capsys.readouterr().out
    found = json.loads((own / "benchmark.json").read_text())
    names = ["model.keras", "model.onnx", "model.tflite"]
    assert [entry["name"] for entry in found["contenders"]] == names
    assert all(name in printed for name in names)
    for entry in found["contenders"]:
        figures = entry["latency"]["1"]
        assert 0 < figures["median_ms"] <= figures["p95_ms"]
        assert figures["ratio"] > 0
        assert entry["load_ms"] > 0
        assert entry["size_bytes"] == (own / entry["file"]).stat().st_size
    assert found["contenders"][0]["latency"]["1"]["ratio"] == 1.0
    with Image.open(own / "benchmark.png") as picture:
        assert picture.width > 600


def test_benchmark_of_files(own, tmp_path, capsys):
    copy = tmp_path / "model.onnx"
    shutil.copy(own / "export" / "model.onnx", copy)
    words = ["benchmark", own / "export" / "model.onnx", copy, "--threads", "1,2", "--rounds", "1"]
    assert main([str(word) for word in [*words, "--out", tmp_path / "speed"]]) == 0
    found = json.loads((tmp_path / "speed" / "benchmark.json").read_text())
    assert [entry["name"] for entry in found["contenders"]] == [str(own / "export" / "model.onnx"), str(copy)]
    assert set(found["contenders"][0]["latency"]) == {"1", "2"}
    assert {path.name for path in (tmp_path / "speed").iterdir()} == {"benchmark.json", "benchmark.png"}
    assert "threads" in capsys.readouterr().out


class TestWrongInput:
    def test_nothing_there(self, tmp_path, capsys):
        for command in ("predict", "evaluate"):
            words = [command, tmp_path / "none.onnx", *(["x.jpg"] if command == "predict" else [])]
            assert "There is no exported file" in refused(capsys, *words)
        assert "no run folder" in refused(capsys, "predict", tmp_path, "x.jpg")
        assert "no run folder" in refused(capsys, "benchmark", tmp_path / "none")
        assert "no exported file" in refused(capsys, "benchmark", tmp_path)

    def test_damaged(self, own, tmp_path, capsys):
        file = tmp_path / "model.tflite"
        file.write_bytes((own / "export" / "model.tflite").read_bytes()[:5000])
        assert "model.tflite" in refused(capsys, "predict", file, "x.jpg")
        assert "model.tflite" in refused(capsys, "benchmark", file)

    def test_counts(self, own, capsys):
        file = own / "export" / "model.onnx"
        assert "--threads takes numbers such as 1,2, not 'many'" in refused(
            capsys, "benchmark", file, "--threads", "many"
        )
        assert "counts of at least 1" in refused(capsys, "benchmark", file, "--rounds", "0")

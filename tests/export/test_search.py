"""The search holds its budget, and finds what naive quantisation loses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from export_helpers import CLASS_NAMES, make_examples, trained_model

import keras_vit
from keras_vit import InputError
from keras_vit.data import Examples
from keras_vit.export import export, search
from keras_vit.export.graph import optimise, read
from keras_vit.export.search import MERGING_SHARES, merging_schedule

CALIBRATION = 8


@pytest.fixture(scope="module")
def found(examples, tmp_path_factory):
    """A search over a small trained classifier: the folder and the report."""
    out = tmp_path_factory.mktemp("auto") / "export"
    model = trained_model(examples, depth=4)
    calibration = make_examples(CALIBRATION)
    arguments = {"class_names": CLASS_NAMES, "validation": examples, "calibration": calibration, "limit": 16}
    with pytest.MonkeyPatch.context() as patch:
        # Every other network costs a conversion of seconds.
        patch.setattr(search, "MERGING_SHARES", MERGING_SHARES[1:2])
        report = export(model, out, formats="tflite", auto="fast", max_drop=7, threads=1, progress=False, **arguments)
    return out, report


def test_the_search_ships_one_file_that_holds_the_budget(found):
    out, report = found
    *_, auto = report["artifacts"]
    assert (auto["file"], auto["format"], auto["ok"]) == ("model_auto.tflite", "tflite-auto", True)
    assert auto["metric"] >= auto["metric_source"] - 0.07
    assert (out / "model_auto.tflite").is_file()
    assert json.loads((out / "report.json").read_text())["search"] == report["search"]


def test_everything_that_was_tried_is_told(found):
    trials = found[1]["search"]
    names = [trial["name"] for trial in trials]
    assert len(set(names)) == len(names)
    assert names[0] == "all int8, as trained"
    assert "int8 weights, activations while running" in names
    (kept,) = (trial for trial in trials if trial["kept"])
    assert kept["name"] == found[1]["artifacts"][-1]["recipe"]
    judged = [trial for trial in trials if trial["metric"] is not None]
    least = found[1]["source"]["metric"] - 0.07
    assert kept["latency_ms"] == min(trial["latency_ms"] for trial in judged if trial["metric"] >= least)


def test_merging_schedules_grow_and_leave_tokens(model):
    network = optimise(read(model))
    for share in MERGING_SHARES:
        assert sum(merging_schedule(network, share)) < network.num_tokens / 1.5


def test_an_unknown_goal_is_named(model, examples, tmp_path):
    with pytest.raises(InputError, match="There is no search 'smal': accepted are: fast, integer"):
        export(
            model,
            tmp_path / "out",
            class_names=CLASS_NAMES,
            validation=examples,
            calibration=examples,
            formats="tflite",
            auto="smal",
            limit=2,
            progress=False,
        )
    assert list(tmp_path.iterdir()) == []


def test_integer_formats_without_calibration_images_say_so(model, examples, tmp_path):
    arguments = {"class_names": CLASS_NAMES, "validation": examples, "limit": 2, "progress": False}
    with pytest.raises(InputError, match="give calibration images"):
        export(model, tmp_path / "out", formats="tflite-int8", **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def imagenet(shared_data, shared_weights):
    """The real DeiT-Ti, 1000 ImageNet images, and other photos to calibrate on."""
    folder = shared_data / "imagenet_sample"
    with (folder / "labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    paths = [str(folder / "images" / row["file"]) for row in rows]
    photos = sorted(map(str, (shared_data / "flickr8k_subset" / "images").glob("*.jpg")))[:128]
    weights = shared_weights / "deit_tiny_patch16_224.safetensors"
    return keras_vit.build("deit_ti16", num_classes=1000, weights=weights), {
        "class_names": [f"{row['wnid']} {row['name']}" for row in rows],
        "validation": Examples(labels=np.array([int(row["index"]) for row in rows]), paths=paths),
        "calibration": Examples(labels=np.zeros(len(photos), int), paths=photos),
        "allow_drop": True,
    }


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_deit_on_imagenet_loses_what_the_readme_says(imagenet, tmp_path):
    model, arguments = imagenet
    formats = ["tflite", "tflite-int8-dynamic", "tflite-int8", "tflite-int8-int16"]
    report = export(model, tmp_path / "out", formats=formats, **arguments)
    exact, dynamic, integer, mixed = report["artifacts"]
    assert report["source"]["metric"] == pytest.approx(0.775, abs=0.002)
    assert exact["max_error"] < 1e-4
    assert dynamic["metric_source"] - dynamic["metric"] <= 0.003
    assert dynamic["agreement"] >= 0.98
    assert dynamic["size_bytes"] <= 6.3e6
    assert integer["metric_source"] - integer["metric"] <= 0.01
    assert "float" not in integer["inspection"]["compute"]
    assert mixed["metric_source"] - mixed["metric"] <= 0.003


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_outlier_channels_survive_the_search(imagenet, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    from outliers import scale_channels

    model, arguments = imagenet
    report = export(scale_channels(model), tmp_path / "out", formats="tflite", auto="integer", **arguments)
    *_, auto = report["artifacts"]
    assert auto["ok"]
    assert auto["metric_source"] - auto["metric"] <= 0.01

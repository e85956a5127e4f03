"""Real conversions, run in the real interpreters."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from export_helpers import CLASS_NAMES, IMAGE_SIZE, encode, trained_model
from PIL import Image

import keras_vit
from keras_vit import InputError
from keras_vit.data import Examples
from keras_vit.export import DEFAULT_FORMATS, ExportFailed, ExportMissed, export, export_graph, print_table
from keras_vit.export.graph import writer
from keras_vit.export.process import RUNNERS, run_script


@pytest.fixture(scope="module")
def shipped(model, examples, tmp_path_factory):
    """Everything exported once: the folder and the report."""
    out = tmp_path_factory.mktemp("run") / "export"
    return out, export(model, out, class_names=CLASS_NAMES, validation=examples, threads=1, progress=False)


def kept_nothing(out):
    """Neither the export nor a temporary folder beside it."""
    return list(out.parent.iterdir()) == []


def test_files(shipped):
    out, report = shipped
    files = {entry["file"] for entry in report["artifacts"]}
    assert {path.name for path in out.iterdir()} == files | {"labels.txt", "report.json", "report.html"}
    assert [path.name for path in out.parent.iterdir()] == ["export"]
    assert (out / "labels.txt").read_text().splitlines() == CLASS_NAMES
    assert json.loads((out / "report.json").read_text()) == report


def test_report(shipped, model, examples):
    _, report = shipped
    assert report["source"]["metric"] == 1.0
    assert report["source"]["images"] == len(examples)
    assert report["source"]["parameters"] == model.count_params()
    assert report["source"]["threads"] == 1
    assert [entry["format"] for entry in report["artifacts"]] == list(DEFAULT_FORMATS)
    for entry in report["artifacts"]:
        assert entry["ok"]
        assert entry["kept"]
        assert entry["max_error"] < (0.05 if "int8" in entry["format"] else 1e-5)
        assert 0 < entry["mean_error"] < entry["max_error"]
        assert (entry["agreement"], entry["metric"], entry["metric_source"]) == (1.0, 1.0, 1.0)
        assert entry["latency_ms"] > 0


def test_sizes(shipped, model):
    _, report = shipped
    folder, plain, int8 = (entry["size_bytes"] for entry in report["artifacts"])
    weights = 4 * model.count_params()
    assert weights < plain < weights + 40_000
    assert int8 < plain / 2
    assert folder < 2 * weights + 400_000


def test_both_signatures_of_the_saved_model_were_judged(shipped):
    signatures = shipped[1]["artifacts"][0]["signatures"]
    assert set(signatures) == {"serving_default", "serve_bytes"}
    assert all(figures["max_error"] < 1e-5 for figures in signatures.values())
    assert all(figures["latency_ms"] > 0 for figures in signatures.values())


def test_saved_model_stores_each_weight_once(shipped, model):
    stored = tf.train.list_variables(str(shipped[0] / "saved_model" / "variables" / "variables"))
    graph = export_graph(model)
    graph(np.zeros((1, *IMAGE_SIZE, 3), "float32"))
    weights = sum(int(np.prod(variable.shape)) for variable in graph.variables)
    assert sum(int(np.prod(shape)) for _, shape in stored if shape) == weights < model.count_params()


def test_saved_model_knows_its_labels_and_signatures(shipped):
    loaded = tf.saved_model.load(shipped[0] / "saved_model")
    labels = loaded.signatures["labels"]()["labels"].numpy()
    assert [label.decode() for label in labels] == CLASS_NAMES
    image = loaded.signatures["serving_default"].structured_input_signature[1]["image"]
    assert (image.shape.as_list(), image.dtype) == ([None, *IMAGE_SIZE, 3], tf.float32)
    empty = loaded.signatures["serve_bytes"](encoded=tf.constant([], tf.string))
    assert empty["probabilities"].shape == (0, len(CLASS_NAMES))


def test_saved_model_squashes_files_when_the_record_says_so(tmp_path):
    from keras_vit.export.saved_model import write_saved_model

    record = keras_vit.Preprocessing(IMAGE_SIZE, crop=1.0, fit="squash")
    write_saved_model(tf.identity, tmp_path / "saved", class_names=["a"], preprocessing=record)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 100, 3), np.uint8)
    served = tf.saved_model.load(tmp_path / "saved").serve_bytes(tf.constant([encode(pixels, 1)]))
    squashed = np.asarray(Image.fromarray(pixels).resize(IMAGE_SIZE[::-1], Image.BICUBIC), np.float32)
    np.testing.assert_allclose(served["probabilities"][0], squashed, atol=1)


def test_tflite_signature_is_static(shipped):
    from ai_edge_litert.interpreter import Interpreter

    for entry in shipped[1]["artifacts"][1:]:
        interpreter = Interpreter(str(shipped[0] / entry["file"]))
        runner = interpreter.get_signature_runner("serving_default")
        (image,), (output,) = runner.get_input_details().items(), runner.get_output_details().items()
        assert (image[0], output[0]) == ("image", "probabilities")
        for (_, details), shape in ((image, [1, *IMAGE_SIZE, 3]), (output, [1, len(CLASS_NAMES)])):
            assert details["shape_signature"].tolist() == shape
            assert details["dtype"] is np.float32


def test_table_has_a_line_an_artefact(shipped, capsys):
    print_table(shipped[1])
    text = capsys.readouterr().out
    assert "48 validation images" in text
    assert text.count("ok") == len(DEFAULT_FORMATS)


def damaged(examples):
    """The same function in float32, but with one row of a kernel so large that int8 loses all others."""
    model = trained_model(examples)
    attention = model.get_layer("block_0").attention
    kernel, bias = attention.qkv.get_weights()
    rows, offset = attention.projection.get_weights()
    channel = 5
    attention.qkv.set_weights([kernel * np.where(np.arange(96) == 64 + channel, 1e-5, 1.0), bias])
    attention.projection.set_weights([rows * np.where(np.arange(32) == channel, 1e5, 1.0)[:, None], offset])
    return model


def test_what_misses_its_tolerance_is_deleted_or_kept_on_request(examples, tmp_path):
    model, out = damaged(examples), tmp_path / "export"
    name = "model_int8_dynamic.tflite"
    arguments = {"class_names": CLASS_NAMES, "validation": examples, "formats": "tflite-int8-dynamic"}
    report = export(model, out, **arguments, allow_drop=True, progress=False)
    assert (out / name).is_file()
    entry = report["artifacts"][0]
    assert (entry["ok"], entry["kept"]) == (False, True)
    assert entry["agreement"] < 0.98
    assert entry["metric"] < entry["metric_source"] == 1.0

    with pytest.raises(ExportMissed, match=f"{name}: it loses .* points of top-1.*allow_drop") as raised:
        export(model, out, **arguments, progress=False)
    assert {path.name for path in out.iterdir()} == {"labels.txt", "report.json", "report.html"}
    report = json.loads((out / "report.json").read_text())
    assert report == raised.value.report
    assert (report["artifacts"][0]["ok"], report["artifacts"][0]["kept"]) == (False, False)


def test_a_mixed_precision_grey_model_is_judged_by_its_weights(tmp_path):
    rng = np.random.default_rng(0)
    grey = Examples(labels=np.arange(12) % 3, images=rng.integers(0, 256, (12, 40, 30), "uint8"))
    model = keras_vit.build(
        "vit_mu16", num_classes=3, image_size=IMAGE_SIZE, in_channels=1, dtype="mixed_bfloat16", seed=0
    )
    report = export(
        model,
        tmp_path / "a" / "b",
        class_names=list("xyz"),
        validation=grey,
        formats=["tflite"],
        limit=5,
        progress=False,
    )
    assert report["source"]["precision"] == "mixed_bfloat16"
    assert report["source"]["images"] == 5
    assert report["artifacts"][0]["max_error"] < 1e-5


def test_a_refused_conversion_adds_only_its_log_to_an_earlier_export(shipped, model, examples, tmp_path, monkeypatch):
    out = tmp_path / "export"
    shutil.copytree(shipped[0], out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    monkeypatch.setitem(writer.ACTIVATIONS, "gelu", tf.math.erfinv)
    with pytest.raises(
        ExportFailed, match=r"Converting vit_mu16 to model.tflite failed .*leave this format out"
    ) as raised:
        export(model, out, class_names=CLASS_NAMES, validation=examples, formats=["tflite"], limit=4, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    log = out / "model.tflite.log"
    assert str(log) in str(raised.value)
    assert "Erfinv" in log.read_text()
    log.unlink()
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_crash_names_stage_and_signal(tmp_path):
    script, log = tmp_path / "crash.py", tmp_path / "crash.log"
    script.write_text("import os\nprint('so far')\nos.abort()\n")
    with pytest.raises(ExportFailed, match=r"^Flying failed \(killed by SIGABRT\): walk.$") as raised:
        run_script(script, [], log=log, stage="Flying", remedy="walk.")
    assert raised.value.log == log


@pytest.mark.parametrize("foreign", ["keras_vit", "tensorflow", "keras"])
def test_the_litert_runner_insists_on_a_clean_process(foreign, shipped, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{foreign!r}] = sys\n")
    np.save(tmp_path / "images.npy", np.zeros((1, *IMAGE_SIZE, 3), "uint8"))
    command = [sys.executable, RUNNERS / "run_tflite.py", shipped[0] / "model.tflite", tmp_path / "out.npz"]
    done = subprocess.run(
        [*command, "--images", tmp_path / "images.npy"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"not a clean process: {foreign} was imported" in done.stderr


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"formats": ["tflight"]}, "There is no export format 'tflight': did you mean 'tflite'?"),
        ({"formats": []}, "No format to export to was given"),
        ({"class_names": ["one"]}, "There are 1 class names for a model of 4 classes"),
        ({"class_names": ["a", "b\nc", "d", "e"]}, "does not fit on one line"),
        ({"validation": Examples(labels=[], encoded=[])}, "no validation images"),
        ({"validation": Examples(labels=[4], encoded=[b""])}, "have the label 4, but the model has 4 classes"),
        ({"limit": 0}, "limit is the number of images"),
    ],
)
def test_wrong_input_is_one_sentence_and_no_file(changes, sentence, model, examples, tmp_path):
    arguments = {"class_names": CLASS_NAMES, "validation": examples, "progress": False} | changes
    with pytest.raises(InputError, match=sentence.replace("?", r"\?")):
        export(model, tmp_path / "out", **arguments)
    assert kept_nothing(tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"num_classes": 0}, "gives no class logits"),
        ({"num_classes": 4, "normalize": False}, "no preprocessing record"),
    ],
)
def test_wrong_models(settings, sentence, examples, tmp_path):
    model = keras_vit.build("vit_mu16", image_size=IMAGE_SIZE, **settings)
    with pytest.raises(InputError, match=sentence):
        export(model, tmp_path / "out", class_names=CLASS_NAMES, validation=examples, progress=False)
    assert kept_nothing(tmp_path / "out")


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_an_unwritable_folder_is_named(inside, model, examples, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(InputError, match=r"The export folder .*file.* cannot be written .*: choose another"):
        export(model, blocked / inside, class_names=CLASS_NAMES, validation=examples, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

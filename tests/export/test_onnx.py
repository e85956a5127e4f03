"""Real conversions to ONNX, opened and run in onnxruntime."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from export_helpers import CLASS_NAMES, IMAGE_SIZE, trained_model

import keras_vit
from keras_vit import InputError
from keras_vit.data import Examples, eval_dataset
from keras_vit.export import ExportFailed, export_graph
from keras_vit.export import onnx as writer
from keras_vit.export.onnx import OPSETS, quantize_onnx, write_onnx
from keras_vit.export.process import RUNNERS
from keras_vit.variants import FAMILIES

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    """A float32 file for any batch, and its int8 sibling."""
    folder = tmp_path_factory.mktemp("onnx")
    write_onnx(
        export_graph(model),
        folder / "model.onnx",
        batch=None,
        class_names=CLASS_NAMES,
        preprocessing=keras_vit.preprocessing_of(model),
        license="Apache-2.0",
    )
    quantize_onnx(folder / "model.onnx", folder / "model_int8.onnx")
    return folder


@pytest.fixture(scope="module")
def pixels(model, examples):
    batches = eval_dataset(examples, keras_vit.preprocessing_of(model), num_classes=len(CLASS_NAMES), batch_size=48)
    return next(iter(batches))[0].numpy()


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def ops(path):
    return {node.op_type for node in onnx.load(path).graph.node}


def test_a_dynamic_batch_gives_the_models_probabilities(written, model, pixels):
    assert {path.name for path in written.iterdir()} == {"model.onnx", "model_int8.onnx"}
    run = session(written / "model.onnx")
    (given,), (result,) = run.get_inputs(), run.get_outputs()
    assert (given.name, given.type, given.shape) == ("image", "tensor(float)", ["batch", *IMAGE_SIZE, 3])
    assert (result.name, result.shape) == ("probabilities", ["batch", len(CLASS_NAMES)])
    expected = tf.nn.softmax(model(pixels)).numpy()
    for count in (1, 5, 48):
        (found,) = run.run(None, {"image": pixels[:count]})
        np.testing.assert_allclose(found, expected[:count], atol=1e-5)


@pytest.mark.slow
def test_a_static_batch_gives_the_models_logits_also_in_old_operators(examples, pixels, tmp_path):
    path = tmp_path / "logits.onnx"
    model = trained_model(examples, "siglip_mu16")  # GELU in its tanh form, and pooling by attention
    write_onnx(export_graph(model, softmax=False), path, output="logits", batch=2, opset=OPSETS[0])
    run = session(path)
    assert run.get_inputs()[0].shape == [2, *IMAGE_SIZE, 3]
    assert run.get_outputs()[0].name == "logits"
    (found,) = run.run(None, {"image": pixels[:2]})
    np.testing.assert_allclose(found, model(pixels[:2]).numpy(), atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["logits.onnx"]


def test_the_file_says_what_it_is(written, model):
    for name in ("model.onnx", "model_int8.onnx"):
        about = session(written / name).get_modelmeta().custom_metadata_map
        assert (about["name"], about["license"]) == (model.name, "Apache-2.0")
        assert json.loads(about["labels"]) == CLASS_NAMES
        record = keras_vit.Preprocessing(**json.loads(about["preprocessing"]))
        assert record == keras_vit.preprocessing_of(model)


def test_onnxruntime_fuses_every_gelu_and_normalisation(written, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(written / "model.onnx", options, providers=["CPUExecutionProvider"])
    assert {"Erf", "Sqrt"} < ops(written / "model.onnx")
    assert {"Gelu", "SimplifiedLayerNormalization"} < ops(tmp_path / "optimised.onnx")
    assert not {"Erf", "Sqrt", "Reciprocal"} & ops(tmp_path / "optimised.onnx")


def test_int8_agrees(written, model, pixels, examples):
    graph = onnx.load(written / "model_int8.onnx").graph
    assert sum(node.op_type == "MatMulInteger" for node in graph.node) == 6
    (found,) = session(written / "model_int8.onnx").run(None, {"image": pixels})
    assert np.abs(found - tf.nn.softmax(model(pixels)).numpy()).max() < 0.05
    assert (found.argmax(1) == examples.labels).all()


def test_the_runner_keeps_the_contract(written, pixels, tmp_path):
    np.save(tmp_path / "images.npy", pixels.astype("uint8"))
    command = [sys.executable, "-P", RUNNERS / "run_onnx.py", written / "model.onnx", tmp_path / "out.npz"]
    command += ["--images", tmp_path / "images.npy", "--threads", "1", "--first", "7"]
    subprocess.run(command, check=True, capture_output=True)
    with np.load(tmp_path / "out.npz") as stored:
        assert stored["serving_default.latency_ms"].shape == (7,)
        assert stored["load_ms"] > 0
    assert np.load(tmp_path / "out.serving_default.npy").shape == (7, len(CLASS_NAMES))


def test_an_operation_without_translation_is_named_and_leaves_no_file(tmp_path):
    class Odd(tf.Module):
        input_shape = (None, 8, 8, 3)

        def __call__(self, image):
            return tf.math.erfinv(tf.tanh(tf.reduce_mean(image, (1, 2))))

    odd = Odd(name="odd")
    with pytest.raises(
        ExportFailed, match=r"Converting odd to model.onnx failed \(ONNX has no translation of Erfinv\)"
    ):
        write_onnx(odd, tmp_path / "model.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx.log"}


class TestWrongInput:
    def test_opset(self, model, tmp_path):
        with pytest.raises(InputError, match="opset 21 is not written: choose from 13 to 18"):
            write_onnx(export_graph(model), tmp_path / "model.onnx", opset=21)

    def test_missing_packages(self, model, tmp_path, monkeypatch):
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
        with pytest.raises(InputError, match=r"ONNX needs onnxruntime: pip install 'keras_vit\[onnx\]'"):
            write_onnx(export_graph(model), tmp_path / "model.onnx")

    def test_too_many_weights(self, model, tmp_path, monkeypatch):
        monkeypatch.setattr(writer, "LARGEST", 10_000)
        with pytest.raises(InputError, match=r"GB of weights.*export it as a SavedModel"):
            write_onnx(export_graph(model), tmp_path / "model.onnx")
        assert not list(tmp_path.iterdir())

    def test_a_graph_of_another_batch(self, model, tmp_path):
        with pytest.raises(ExportFailed, match="make it for any batch"):
            write_onnx(export_graph(model, batch=4), tmp_path / "model.onnx", batch=1)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family, examples, pixels, tmp_path):
    model = trained_model(examples, f"{family}_mu16")
    write_onnx(export_graph(model), tmp_path / "model.onnx", batch=None)
    (found,) = session(tmp_path / "model.onnx").run(None, {"image": pixels[:4]})
    np.testing.assert_allclose(found, tf.nn.softmax(model(pixels[:4])).numpy(), atol=1e-5)


@pytest.mark.slow
def test_deit_on_imagenet(shared_data, shared_weights, tmp_path):
    """The files of a real model: 1e-4 on logits; int8 loses at most 0.5 points and agrees on 97 % of the images."""
    model = keras_vit.build("deit_ti16", num_classes=1000, weights=shared_weights / "deit_tiny_patch16_224.safetensors")
    with (shared_data / "imagenet_sample" / "labels.csv").open() as rows:
        files, labels = zip(*((row["file"], int(row["index"])) for row in csv.DictReader(rows)), strict=True)
    paths = [str(shared_data / "imagenet_sample" / "images" / file) for file in files]
    images = Examples(labels=labels, paths=paths)
    batches = eval_dataset(images, keras_vit.preprocessing_of(model), num_classes=1000, batch_size=50)
    pixels = np.concatenate([batch.numpy() for batch, _ in batches])

    write_onnx(export_graph(model, softmax=False), tmp_path / "model.onnx", output="logits")
    (found,) = session(tmp_path / "model.onnx").run(None, {"image": pixels[:1]})
    np.testing.assert_allclose(found, model(pixels[:1]).numpy(), atol=1e-4)
    quantize_onnx(tmp_path / "model.onnx", tmp_path / "int8.onnx")
    sizes = [(tmp_path / name).stat().st_size for name in ("model.onnx", "int8.onnx")]
    assert sizes[1] < 0.31 * sizes[0]
    chosen = [
        np.array([run.run(None, {"image": image[None]})[0].argmax() for image in pixels])
        for run in (session(tmp_path / "model.onnx"), session(tmp_path / "int8.onnx"))
    ]
    accuracy = [(classes == images.labels).mean() for classes in chosen]
    assert accuracy[1] > accuracy[0] - 0.005
    assert (chosen[0] == chosen[1]).mean() > 0.97

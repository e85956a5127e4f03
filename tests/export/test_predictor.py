"""Every kind of exported file through the one `load`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from export_helpers import CLASS_NAMES, IMAGE_SIZE, encode

import keras_vit
from keras_vit import InputError
from keras_vit.data import eval_dataset
from keras_vit.export import export_graph
from keras_vit.export.metadata import add_metadata
from keras_vit.export.onnx import write_onnx
from keras_vit.export.predictor import load
from keras_vit.export.saved_model import write_saved_model
from keras_vit.export.tflite import write_tflite

COUNT = 13
"""Of images: no multiple of any batch."""

TOLERANCES = {
    "model.tflite": 1e-5,
    "bare.tflite": 1e-5,
    "batch4.tflite": 1e-5,
    "int8.tflite": 1.0,  # integers throughout, and naively so: what is tested of it is below
    "dynamic.onnx": 1e-5,
    "saved_model": 1e-5,
}


def full_integer(graph, path, images):
    """A file that takes uint8 and gives int8, so that both ends have scales and zero points."""
    serve = tf.function(graph.__call__, input_signature=[tf.TensorSpec(graph.input_shape, tf.float32, name="image")])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], graph)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None].astype("float32")] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
    path.write_bytes(converter.convert())


@pytest.fixture(scope="module")
def images(model, examples):
    record = keras_vit.preprocessing_of(model)
    batches = eval_dataset(examples, record, num_classes=len(CLASS_NAMES), batch_size=len(examples))
    return next(iter(batches))[0].numpy().astype("uint8")[:COUNT]


@pytest.fixture(scope="module")
def shipped(model, images, tmp_path_factory):
    """One file of every kind. Those that hold no labels or record have them beside."""
    folder = tmp_path_factory.mktemp("export")
    record = keras_vit.preprocessing_of(model)
    about = {"class_names": CLASS_NAMES, "preprocessing": record}
    one, many = export_graph(model, batch=1), export_graph(model)
    write_tflite(one, folder / "bare.tflite")
    shutil.copy(folder / "bare.tflite", folder / "model.tflite")
    add_metadata(folder / "model.tflite", name="model", **about)
    write_tflite(export_graph(model, batch=4), folder / "batch4.tflite")
    full_integer(one, folder / "int8.tflite", images)
    write_onnx(many, folder / "dynamic.onnx", batch=None, **about)
    write_saved_model(many, folder / "saved_model", **about)
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in CLASS_NAMES))
    (folder / "report.json").write_text(json.dumps({"source": {"preprocessing": record.to_dict()}}))
    return folder


@pytest.mark.parametrize("name", TOLERANCES)
def test_every_kind_of_file_predicts_alike(name, shipped, model, images):
    predictor = load(shipped / name, threads=1)
    assert predictor.class_names == tuple(CLASS_NAMES)
    assert predictor.preprocessing == keras_vit.preprocessing_of(model)
    batch = {"batch4.tflite": 4, "dynamic.onnx": None, "saved_model": None}.get(name, 1)
    assert predictor.input_shape == (batch, *IMAGE_SIZE, 3)
    expected = tf.nn.softmax(model(images.astype("float32"))).numpy()
    for given in (images, images.astype("float64")):
        found = predictor.predict(given)
        assert (found.shape, found.dtype) == (expected.shape, np.float32)
        assert np.abs(found - expected).max() < TOLERANCES[name]
    assert predictor.predict(images[:0]).shape == (0, len(CLASS_NAMES))


def test_integer_ends_are_converted_by_their_scales(shipped, images):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(shipped / "int8.tflite"))
    interpreter.allocate_tensors()
    given, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert (given["dtype"], result["dtype"]) == (np.uint8, np.int8)
    found = load(shipped / "int8.tflite").predict(images)
    for image, row in zip(images, found, strict=True):
        scale, zero_point = given["quantization"]
        pixels = np.clip(np.round(image / scale) + zero_point, 0, 255).astype("uint8")
        interpreter.set_tensor(given["index"], pixels[None])
        interpreter.invoke()
        scale, zero_point = result["quantization"]
        expected = (interpreter.get_tensor(result["index"])[0].astype("float32") - zero_point) * scale
        np.testing.assert_allclose(row, expected, atol=1e-6)
    assert np.ptp(found) > 0.5


@pytest.mark.parametrize("name", ["model.tflite", "dynamic.onnx"])
def test_labels_and_record_in_the_file_come_before_those_beside_it(name, shipped, tmp_path):
    shutil.copy(shipped / name, tmp_path)
    assert load(tmp_path / name).class_names == tuple(CLASS_NAMES)
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\n")
    (tmp_path / "report.json").write_text("{}")
    predictor = load(tmp_path / name)
    assert predictor.class_names == tuple(CLASS_NAMES)
    assert predictor.preprocessing.image_size == IMAGE_SIZE


def test_a_bare_file_predicts_pixels_only(shipped, images, tmp_path):
    shutil.copy(shipped / "bare.tflite", tmp_path)
    predictor = load(tmp_path / "bare.tflite")
    assert predictor.class_names == ("0", "1", "2", "3")
    assert predictor.predict(images).shape == (COUNT, 4)
    with pytest.raises(InputError, match=r"keep the report.json of its export beside it"):
        predictor.predict_files(["x.jpg"])


def test_a_mediapipe_file_of_another_maker_is_given_its_normalisation(shipped, images, tmp_path):
    shutil.copy(shipped / "bare.tflite", tmp_path / "other.tflite")
    record = load(shipped / "model.tflite").preprocessing
    add_metadata(
        tmp_path / "other.tflite", name="o", class_names=CLASS_NAMES, preprocessing=record, mean=[10.0], std=[2.0]
    )
    expected = load(shipped / "bare.tflite").predict((images.astype("float32") - 10) / 2)
    np.testing.assert_allclose(load(tmp_path / "other.tflite").predict(images), expected, atol=1e-6)


def test_files_are_prepared_as_the_record_says(shipped, examples, tmp_path):
    paths = []
    for index in range(8):
        paths.append(tmp_path / f"{index}.image")
        paths[-1].write_bytes(examples.raw(index * 4))
    predictor = load(shipped / "model.tflite")
    record = predictor.preprocessing
    batches = eval_dataset(examples.subset(np.arange(8) * 4), record, num_classes=4, batch_size=8)
    expected = predictor.predict(next(iter(batches))[0].numpy())
    np.testing.assert_allclose(predictor.predict_files(paths), expected, atol=1e-6)
    with pytest.raises(InputError, match=r"none.png is missing"):
        predictor.predict_files([tmp_path / "none.png"])
    paths[0].write_bytes(encode(np.zeros((40, 40, 3), "uint8"), 0)[:100])
    with pytest.raises(InputError, match=r"0.image cannot be read as an image"):
        predictor.predict_files(paths)


@pytest.mark.parametrize("name", TOLERANCES)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.98])
def test_a_truncated_file_is_one_sentence(name, share, shipped, tmp_path):
    damaged = tmp_path / name
    (shutil.copytree if (shipped / name).is_dir() else shutil.copy)(shipped / name, damaged)
    file = damaged / "saved_model.pb" if damaged.is_dir() else damaged
    os.truncate(file, int(share * file.stat().st_size))
    with pytest.raises(InputError) as raised:
        load(damaged)
    assert name in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


class TestWrongInput:
    def test_paths(self, tmp_path):
        with pytest.raises(InputError, match=r"There is no exported file .*none.tflite"):
            load(tmp_path / "none.tflite")
        (tmp_path / "model.pt").write_bytes(b"x")
        with pytest.raises(InputError, match=r"model.pt is no exported file: give a .tflite or .onnx file"):
            load(tmp_path / "model.pt")
        with pytest.raises(InputError, match=r"is no exported file"):
            load(tmp_path)

    @pytest.mark.parametrize("shape", [(1, 32, 32, 3), (*IMAGE_SIZE, 3), (1, *IMAGE_SIZE, 1)])
    def test_shapes(self, shape, shipped):
        with pytest.raises(InputError, match=r"takes pixels of the shape \(images, 32, 48, 3\), not uint8 of"):
            load(shipped / "dynamic.onnx").predict(np.zeros(shape, "uint8"))

    def test_text(self, shipped):
        with pytest.raises(InputError, match="takes pixels"):
            load(shipped / "dynamic.onnx").predict(np.full((1, *IMAGE_SIZE, 3), "x"))

    def test_another_networks_labels_and_record(self, shipped, tmp_path):
        shutil.copy(shipped / "bare.tflite", tmp_path)
        record = keras_vit.Preprocessing((64, 64))
        (tmp_path / "report.json").write_text(json.dumps({"source": {"preprocessing": record.to_dict()}}))
        with pytest.raises(InputError, match=r"put its own report.json beside it"):
            load(tmp_path / "bare.tflite")
        (tmp_path / "report.json").write_text("[]")
        with pytest.raises(InputError, match=r"report.json is no report of an export"):
            load(tmp_path / "bare.tflite")
        (tmp_path / "labels.txt").write_text("a\nb\n")
        with pytest.raises(InputError, match="There are 2 class names for the 4 classes"):
            load(tmp_path / "bare.tflite")

    def test_no_classifier(self, tmp_path):
        onnx = pytest.importorskip("onnx")
        value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [3])
        node = onnx.helper.make_node("Identity", ["x"], ["y"])
        result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [3])
        model = onnx.helper.make_model(
            onnx.helper.make_graph([node], "g", [value], [result]),
            opset_imports=[onnx.helper.make_opsetid("", 18)],
            ir_version=9,
        )
        onnx.save(model, tmp_path / "other.onnx")
        with pytest.raises(InputError, match=r"other.onnx is no exported model: it takes \[\(3,\)\]"):
            load(tmp_path / "other.onnx")


def test_arrays_need_no_tensorflow(shipped):
    """Of these modules; whatever the package imports when it is itself imported is not part of this."""
    code = f"""
import sys
import keras_vit.export
before = set(sys.modules)
import numpy as np
from keras_vit.export.predictor import load
for name in ("model.tflite", "dynamic.onnx"):
    print(load({str(shipped)!r} + "/" + name).predict(np.zeros((1, 32, 48, 3), "uint8")).shape)
print({{"tensorflow", "keras"}} & (set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["(1, 4)", "(1, 4)", "set()"]

"""The example for small devices: its preprocessing is the package's, and its answers are the model's."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from edge_helpers import KINDS, SCRIPT, convert, edge_script
from export_helpers import CLASS_NAMES
from PIL import Image

import keras_vit
from keras_vit.data import Examples, eval_dataset
from keras_vit.data.geometry import resize_and_crop
from keras_vit.export.metadata import add_metadata
from keras_vit.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def script():
    return edge_script()


@pytest.fixture(scope="module")
def photos(examples, tmp_path_factory):
    """JPEG, PNG, a JPEG on its side and WebP, three of each."""
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / str(index) for index in range(0, 48, 4)]
    for path in paths:
        path.write_bytes(examples.raw(int(path.name)))
    return paths


@pytest.fixture(scope="module")
def views(model, photos):
    """(n, H, W, 3): what the package makes of the photos."""
    shown = Examples(labels=np.zeros(len(photos), int), paths=[str(path) for path in photos])
    batches = eval_dataset(shown, keras_vit.preprocessing_of(model), num_classes=4, batch_size=len(photos))
    return next(iter(batches))[0].numpy()


@pytest.fixture(scope="module", params=["float32", "uint8"])
def file(request, model, views, tmp_path_factory):
    path = tmp_path_factory.mktemp("edge") / "model.tflite"
    calibration = np.concatenate([views, np.zeros_like(views[:1]), np.full_like(views[:1], 255)])
    convert(model, path, calibration, **KINDS[request.param])
    add_metadata(path, name="colours", class_names=CLASS_NAMES, preprocessing=keras_vit.preprocessing_of(model))
    return path


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_answers_are_the_models(script, file, model, photos, views):
    runs = script.Model(str(file))
    logits = np.asarray(model(views), "float64")
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    pixels = [script.fit(script.read_image(str(path), 3), runs.record) for path in photos]
    found = np.stack([runs(image)["probabilities"] for image in pixels])
    assert found.argmax(-1).tolist() == expected.argmax(-1).tolist()
    quantised = runs.outputs["probabilities"]["dtype"] == np.uint8
    np.testing.assert_allclose(found, expected, atol=0.15 if quantised else 1e-4)


def test_what_is_printed(file, photos):
    done = run(file, *photos[:2], "--top", 2)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split("  (")[0] for line in lines[::3]] == [str(path) for path in photos[:2]]
    shares = [float(line.split("%")[0]) for line in lines[1:3]]
    assert 100 >= shares[0] >= shares[1] >= 0
    assert {line.split("%  ")[1] for line in lines[1:3]} < set(CLASS_NAMES)


@pytest.mark.parametrize(
    "record",
    [
        Preprocessing(),
        Preprocessing(crop=0.875, interpolation="bilinear"),
        Preprocessing(image_size=(160, 224), crop=0.95),
        Preprocessing(image_size=(97, 224), fit="squash"),
        Preprocessing(image_size=(97, 224), fit="pad", crop=1.0),
        Preprocessing(image_size=(64, 64), fit="pad", crop=1.0, mean=(0.5,), std=(0.5,)),
        Preprocessing(image_size=(32, 32), crop=1.0, mean=(0.5,), std=(0.5,)),
    ],
)
@pytest.mark.parametrize("size", [(341, 256), (97, 203), (640, 480)])
def test_preprocessing_is_the_packages(script, record, size, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (size[1] // 4, size[0] // 4, 3), np.uint8)
    Image.fromarray(noise).resize(size).save(tmp_path / "photo.png")
    image = script.read_image(str(tmp_path / "photo.png"), record.channels)
    found = script.fit(image, record.to_dict())
    expected = resize_and_crop(tf.constant(np.asarray(image).reshape(size[1], size[0], -1)), record).numpy()
    assert found.shape == expected.shape
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


def test_needs_nothing_of_training(file, photos):
    code = "import runpy, sys; sys.argv = sys.argv[1:]\ntry: runpy.run_path(sys.argv[0], run_name='__main__')\n"
    code += "except SystemExit as end: assert not end.code\n"
    code += "assert not {'tensorflow', 'keras', 'keras_vit', 'jax', 'torch', 'mediapipe'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, SCRIPT, file, photos[0]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_mistakes_are_sentences(file, photos, tmp_path):
    bare, text = tmp_path / "bare.tflite", tmp_path / "text.tflite"
    content = file.read_bytes()
    bare.write_bytes(content[: content.index(b"PK\x03\x04")])
    text.write_text("not a model")
    elsewhere = tmp_path / "graded.tflite"
    elsewhere.write_bytes(content)
    with zipfile.ZipFile(elsewhere, "a") as archive:
        archive.writestr("task.json", '{"name": "graded", "options": {}}')
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos[0].read_bytes()[:200])
    for arguments, words in (
        ((tmp_path / "no.tflite", photos[0]), "There is no file"),
        ((text, photos[0]), "does not load as a .tflite file"),
        ((bare, photos[0]), "export it with keras-vit"),
        ((elsewhere, photos[0]), "was trained for graded"),
        ((file, tmp_path / "no.jpg"), "There is no photo"),
        ((file, broken), "cannot be read as an image"),
    ):
        done = run(*arguments)
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_one_broken_photo_does_not_stop_the_others(file, photos, tmp_path):
    done = run(file, tmp_path / "no.jpg", photos[0])
    assert done.returncode == 2
    assert done.stdout.startswith(str(photos[0]))

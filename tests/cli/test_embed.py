"""`keras-vit embed`: what it writes, and how it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

import keras_vit
from keras_vit.cli.main import main
from keras_vit.data import find_images, load
from keras_vit.probing import Embedded, Embedder
from keras_vit.training import Recipe


@pytest.fixture
def photos(blobs, tmp_path):
    """Some test images as files."""
    folder = tmp_path / "photos"
    folder.mkdir()
    examples = load(str(blobs), progress=False).test
    for index in range(4):
        (folder / f"{index}.png").write_bytes(examples.raw(index))
    return folder


def embedded(capsys, *words) -> str:
    """Runs the command, which must do well, and returns what it printed."""
    assert main(["embed", *map(str, words)]) == 0
    return capsys.readouterr().out


def refused(capsys, *words) -> str:
    """Runs the command, which must fail as wrong input: one sentence, no traceback, status 2."""
    assert main(["embed", *map(str, words)]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("keras-vit: ")
    return said


def test_photos_with_a_run(run, photos, tmp_path, capsys):
    out = tmp_path / "new" / "f.npz"
    said = embedded(capsys, run.folder, photos, "--out", out, "--batch-size", "3")
    assert said.splitlines()[-1] == f"{out}: 4 images, 32 features each"
    with np.load(out, allow_pickle=False) as arrays:
        assert set(arrays.files) == {"features", "files"}
        assert arrays["files"].tolist() == [str(photos / f"{index}.png") for index in range(4)]
        examples, _ = find_images([photos], progress=False)
        wanted = Embedder(run.model).embed(examples, progress=False)
        np.testing.assert_allclose(arrays["features"], wanted, atol=1e-5)


def test_a_split_of_the_runs_own_data_has_labels(run, tmp_path, capsys):
    embedded(capsys, run.folder, "--split", "val", "--pooling", "avg", "--out", tmp_path / "f.npz")
    found, val = Embedded.read(tmp_path / "f.npz"), load(run.recipe.data.spec, progress=False).val
    np.testing.assert_array_equal(found.labels, val.labels)
    assert (found.class_names, list(found.files)) == (run.class_names, val.names)
    np.testing.assert_allclose(found.features, Embedder(run.model, "avg").embed(val, progress=False), atol=1e-5)


def test_a_model_by_name_with_weights_from_a_file(run, photos, tmp_path, capsys):
    weights, out = run.folder / "model.keras", tmp_path / "f.npz"
    embedded(capsys, "vit_mu4", "--weights", weights, photos, "--image-size", "16x16", "--out", out)
    examples, _ = find_images([photos], progress=False)
    model = keras_vit.build("vit_mu4", num_classes=0, image_size=(16, 16), weights=weights)
    features = Embedded.read(out).features
    np.testing.assert_allclose(features, Embedder(model).embed(examples, progress=False), atol=1e-5)
    np.testing.assert_allclose(features, Embedder(run.model).embed(examples, progress=False), atol=1e-4)
    # All of labelled data, untrained weights, and the same seed twice.
    words = ("vit_mu4", "--weights", "random", "--image-size", "16", "--data", run.recipe.data.spec, "--split", "test")
    embedded(capsys, *words, "--seed", "3", "--out", out)
    one = Embedded.read(out)
    embedded(capsys, *words, "--seed", "3", "--out", out)
    np.testing.assert_array_equal(one.features, Embedded.read(out).features)
    assert np.bincount(one.labels).tolist() == [10, 10, 10]


def test_a_segmentation_run_gives_features_without_labels(shapes, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    model = keras_vit.build("vit_mu16", task="segmentation", num_classes=4, image_size=(36, 48), depth=1)
    model.save(folder / "model.keras")
    settings = Recipe.from_dict({"task": "segmentation", "data": {"spec": str(shapes)}}).to_dict()
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    (folder / "labels.txt").write_text("background\nred\ngreen\nblue\n")
    embedded(capsys, folder, "--split", "val", "--out", tmp_path / "f.npz")
    found = Embedded.read(tmp_path / "f.npz")
    assert found.features.shape == (8, 32)
    assert found.labels is None
    assert main(["probe", str(folder)]) == 2
    assert "has no class for each image, which a probe learns: add --data" in capsys.readouterr().err


class TestWrongInput:
    def test_models(self, run, photos, tmp_path, capsys):
        rest = (photos, "--out", tmp_path / "f.npz")
        assert "no model 'vit_mu_4': did you mean" in refused(capsys, "vit_mu_4", *rest, "--weights", "random")
        assert "add --weights" in refused(capsys, "vit_mu4", *rest)
        assert "missing.safetensors" in refused(capsys, "vit_mu4", *rest, "--weights", tmp_path / "missing.safetensors")
        assert "leave --weights out" in refused(capsys, run.folder, *rest, "--weights", "random")
        assert "such as 224x320" in refused(capsys, "vit_mu4", *rest, "--weights", "random", "--image-size", "16by16")
        assert "is no run folder" in refused(capsys, tmp_path, *rest)
        file = tmp_path / "model.tflite"
        file.write_bytes(b"")
        assert "gives answers and no features" in refused(capsys, file, *rest)
        assert "did you mean 'token'" in refused(capsys, run.folder, *rest, "--pooling", "tokens")

    def test_images(self, run, photos, tmp_path, capsys):
        out = ("--out", tmp_path / "f.npz")
        assert "There is no image" in refused(capsys, run.folder, tmp_path / "none.jpg", *out)
        assert "Give either images and folders, or --split" in refused(capsys, run.folder, *out)
        assert "Give either images" in refused(capsys, run.folder, photos, "--split", "val", *out)
        assert "leave the paths out" in refused(capsys, run.folder, photos, "--data", photos, *out)
        assert "has no data of its own: add --data" in refused(
            capsys, "vit_mu4", "--weights", "random", "--image-size", "16", "--split", "val", *out
        )
        bad = photos / "0.png"
        bad.write_bytes(bad.read_bytes()[:200])
        assert "0.png" in refused(capsys, run.folder, photos, *out)
        assert not (tmp_path / "f.npz").exists()
        assert "left out" in embedded(capsys, run.folder, photos, "--skip-bad", *out)
        assert len(Embedded.read(tmp_path / "f.npz").files) == 3

    def test_places(self, run, photos, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        assert "name it features.npz" in refused(capsys, run.folder, photos, "--out", tmp_path / "features")
        assert "cannot be written" in refused(capsys, run.folder, photos, "--out", tmp_path / "file" / "f.npz")

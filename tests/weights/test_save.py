"""Writing weights: all files or none, into folders, and what cannot be written is one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import keras_vit
from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

SETTINGS = {"num_classes": 5, "image_size": 32, "depth": 1}

INTERRUPTED = """
import resource, sys
import keras_vit
from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

model = keras_vit.build("vit_mu16", num_classes=7, image_size=32, depth=1, seed=2)
for limit in map(int, sys.argv[2:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        keras_vit.weights.save(model, sys.argv[1])
        sys.exit(f"{limit} bytes were enough")
    except InputError as error:
        assert "cannot be written" in str(error) and "\\n" not in str(error), error
"""


@pytest.fixture(scope="module")
def model():
    return keras_vit.build("vit_mu16", **SETTINGS, seed=1)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_full_disk_leaves_the_old_files(model, tmp_path):
    keras_vit.weights.save(model, tmp_path)
    before = contents(tmp_path)
    program = [sys.executable, "-c", INTERRUPTED, str(tmp_path), "0", "100", "5000", "150000"]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert contents(tmp_path) == before


def test_a_settings_file_that_cannot_be_replaced_leaves_the_old_weights(model, tmp_path):
    keras_vit.weights.save(model, tmp_path)
    before = contents(tmp_path)
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").mkdir()
    other = keras_vit.build("vit_mu16", **SETTINGS, seed=2)
    with pytest.raises(InputError, match=r"config\.json cannot be written"):
        keras_vit.weights.save(other, tmp_path)
    assert contents(tmp_path) == {"model.safetensors": before["model.safetensors"]}


def test_home_folder(model, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert keras_vit.weights.save(model, "~/weights") == tmp_path / "weights"
    assert (tmp_path / "weights" / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["vit.safetensors", "vit.keras", "vit.pth"])
def test_the_name_of_a_file(name, model, tmp_path):
    with pytest.raises(InputError, match=r"is called like a file, and a folder is written: give .*/vit\."):
        keras_vit.weights.save(model, tmp_path / name)
    assert not contents(tmp_path)


@pytest.mark.parametrize("path", ["", None, 5])
def test_no_path(path, model):
    with pytest.raises(InputError, match="Weights are written into a folder: give its path"):
        keras_vit.weights.save(model, path)


def test_below_a_file(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file, choose a folder"):
        keras_vit.weights.save(model, tmp_path / "file" / "weights")


@pytest.mark.parametrize("dialect", ["timm", "huggingface"])
def test_what_others_do_not_know(dialect, tmp_path):
    streets = keras_vit.build("vit_mu16", task="segmentation", num_classes=3, image_size=32)
    padded = keras_vit.build(
        "vit_mu16", num_classes=3, image_size=32, preprocessing=Preprocessing((32, 32), crop=1.0, fit="pad")
    )
    for model, words in (
        (streets, "knows no Vision Transformer with the head of"),
        (padded, "does not fill images up"),
    ):
        with pytest.raises(InputError, match=words):
            keras_vit.weights.save(model, tmp_path / "folder", dialect=dialect)
    assert not (tmp_path / "folder").exists()


def test_an_unknown_dialect(model, tmp_path):
    with pytest.raises(InputError, match="did you mean 'huggingface'"):
        keras_vit.weights.save(model, tmp_path, dialect="hugging-face")

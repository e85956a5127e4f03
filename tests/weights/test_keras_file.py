"""`.keras` files are read from the archive: every variable of every family, and nothing that a stranger put there."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.saving import serialization_lib

import keras_vit
from keras_vit.errors import InputError
from keras_vit.variants import FAMILIES
from keras_vit.weights.formats import open_checkpoint

SETTINGS = {"num_classes": 5, "image_size": 32, "depth": 2}


def saved(path: Path, name: str = "vit_mu16", **settings) -> keras.Model:
    model = keras_vit.build(name, **{**SETTINGS, **settings}, seed=1)
    for variable in model.weights:
        variable.assign(np.random.default_rng(len(variable.path)).normal(size=variable.shape))
    model.save(path)
    return model


def repacked(path: Path, compression: int = zipfile.ZIP_STORED, **members) -> Path:
    """The archive with changed members, their names without the endings, and right checksums."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, member in content.items():
            archive.writestr(name, members.get(name.split(".")[0], member))
    return path


def configuration(path: Path) -> dict:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))


def refuse(path: Path, *words: str):
    with pytest.raises(InputError) as caught:
        open_checkpoint(path)
    for word in ("is not a readable .keras model", *words):
        assert word in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("settings", [{}, {"pooling": "map", "dropout": 0.1, "dtype": "bfloat16"}])
def test_every_variable(family, settings, tmp_path):
    model = saved(tmp_path / "w.keras", f"{family}_mu16", **settings)
    checkpoint = open_checkpoint(tmp_path / "w.keras")
    assert set(checkpoint.shapes) == {variable.path for variable in model.weights}
    for variable in model.weights:
        array = checkpoint.read(variable.path)
        assert (array.shape, array.dtype) == (tuple(variable.shape), variable.dtype)
        np.testing.assert_array_equal(array, np.asarray(variable))


def test_of_a_run(run, capsys):
    """Compiled, trained, and with a rectangle's positions."""
    path = run.folder / "model.keras"
    model = keras.saving.load_model(path)
    checkpoint = open_checkpoint(path)
    assert set(checkpoint.shapes) == {variable.path for variable in model.weights}
    for variable in model.weights:
        np.testing.assert_array_equal(checkpoint.read(variable.path), np.asarray(variable))


def test_it_says_what_it_is(tmp_path):
    model = saved(tmp_path / "w.keras", "clip_mu16", image_size=(32, 48), pooling="avg")
    checkpoint = open_checkpoint(tmp_path / "w.keras")
    assert checkpoint.image_size == (32, 48)
    assert checkpoint.preprocessing == keras_vit.preprocessing_of(model)
    said = {"activation": "quick_gelu", "num_heads": "2", "norm_epsilon": "1e-05", "pooling": "avg"}
    assert said.items() <= checkpoint.metadata.items()


def test_inside_a_name_scope(tmp_path):
    model = saved(tmp_path / "w.keras")
    with keras.name_scope("teacher"):
        copy = keras_vit.build("vit_mu16", **SETTINGS, weights=tmp_path / "w.keras")
    assert copy.weights[0].path.startswith("teacher/")
    for one, other in zip(model.weights, copy.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_opening_takes_no_memory_for_a_model(tmp_path):
    saved(tmp_path / "w.keras")
    config = configuration(tmp_path / "w.keras")
    head = next(layer for layer in config["config"]["layers"] if layer["name"] == "head")
    head["config"]["units"] = 10**12
    repacked(tmp_path / "w.keras", config=json.dumps(config))
    refuse(tmp_path / "w.keras", "head/kernel is (32, 5), and its layer has (32, 1000000000000)")
    keras_vit.build("vit_mu16", **SETTINGS)  # does not draw what the other would have needed


class TestStrangers:
    def add(self, path: Path, layer: dict) -> Path:
        saved(path)
        config = configuration(path)
        config["config"]["layers"].insert(1, layer)
        return repacked(path, config=json.dumps(config))

    def test_code_is_not_executed_where_keras_was_told_that_files_may_be_unsafe(self, tmp_path, monkeypatch):
        inputs, probe = keras.Input((2,)), tmp_path / "probe.keras"
        keras.Model(inputs, keras.layers.Lambda(lambda x: x)(inputs)).save(probe)
        lambdas = [each for each in configuration(probe)["config"]["layers"] if each["class_name"] == "Lambda"]
        path = self.add(tmp_path / "w.keras", lambdas[0])
        monkeypatch.setattr(serialization_lib, "in_safe_mode", lambda: False)
        refuse(path, "it has a Lambda, which no model of this package has")

    @pytest.mark.parametrize("name", ["Lambda", "TFSMLayer", "StringLookup", "Sequential", "\n\x1b[2J"])
    @pytest.mark.parametrize("registered", [None, "keras_vit>Unknown", "Lambda"])
    def test_other_layers(self, name, registered, tmp_path):
        layer = {"module": "keras.layers", "class_name": name, "config": {}, "registered_name": registered}
        refuse(self.add(tmp_path / "w.keras", layer), "it has a ")

    def test_another_model(self, tmp_path):
        inputs = keras.Input((4,))
        keras.Model(inputs, keras.layers.Dense(2)(inputs)).save(tmp_path / "w.keras")
        refuse(tmp_path / "w.keras", "it has a GlorotUniform")


class TestArrays:
    def change(self, path: Path, edit) -> Path:
        saved(path)
        with zipfile.ZipFile(path) as archive:
            content = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(content, "r+") as file:
            edit(file, "layers/dense/vars/0")
        return repacked(path, model=content.getvalue())

    def test_in_another_file(self, tmp_path):
        with h5py.File(tmp_path / "secret.h5", "w") as file:
            file["x"] = np.ones((32, 5), "float32")

        def link(file, place):
            del file[place]
            file[place] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "x")

        refuse(self.change(tmp_path / "w.keras", link))

    def test_in_other_bytes(self, tmp_path):
        (tmp_path / "secret").write_bytes(bytes(1000))

        def outsource(file, place):
            del file[place]
            file.create_dataset(place, (32, 5), "float32", external=[(str(tmp_path / "secret"), 0, 640)])

        refuse(self.change(tmp_path / "w.keras", outsource), "head/kernel does not lie within the file")

    @pytest.mark.parametrize("how", [{"chunks": (8, 5)}, {"compression": "gzip"}, {}])
    def test_never_written_or_compressed(self, how, tmp_path):
        def replace(file, place):
            del file[place]
            file.create_dataset(place, (10**6 if not how else 32, 5), "float32", **how)

        refuse(self.change(tmp_path / "w.keras", replace), "head/kernel does not lie within the file")

    def test_missing(self, tmp_path):
        def drop(file, place):
            del file[place]

        refuse(self.change(tmp_path / "w.keras", drop))


def test_damage_is_found_by_the_checksum(tmp_path):
    """Keras itself falls back to reading without it."""
    saved(tmp_path / "w.keras")
    content = bytearray((tmp_path / "w.keras").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "w.keras").write_bytes(content)
    refuse(tmp_path / "w.keras", "model.weights.h5 has a wrong checksum")


def test_compressed_archive(tmp_path):
    saved(tmp_path / "w.keras")
    refuse(repacked(tmp_path / "w.keras", zipfile.ZIP_DEFLATED), "it is compressed")

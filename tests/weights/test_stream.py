"""Arrays stream from the file into the variables: lean, checked, and all or none of them."""

from __future__ import annotations

import os
import threading
import tracemalloc
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import keras_vit
from keras_vit.errors import Failure, InputError
from keras_vit.variants import parse
from keras_vit.weights.load import fill
from keras_vit.weights.source import locate

SETTINGS = {"num_classes": 5, "image_size": 32, "depth": 2}
LAST = "pos_embed"


def model(seed: int = 1, **settings) -> keras.Model:
    return keras_vit.build("vit_mu16", **{**SETTINGS, **settings}, seed=seed)


def same(one: keras.Model, other: keras.Model) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


@pytest.fixture(scope="module")
def source():
    return model(seed=2)


@pytest.fixture
def saved(source, tmp_path) -> Path:
    return keras_vit.weights.save(source, tmp_path / "saved") / "model.safetensors"


def change(path: Path, edit) -> Path:
    """Changes one array, the last in the file but not the last in the model."""
    arrays = {name: array.copy() for name, array in load_file(path).items()}
    arrays[LAST] = edit(arrays[LAST])
    save_file(arrays, path)
    return path


def first_element(value):
    def edit(array: np.ndarray) -> np.ndarray:
        array = array.astype(getattr(value, "dtype", array.dtype))
        array.flat[0] = value
        return array

    return edit


class TestNumbers:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.float16("nan"), np.float64(1e300)])
    def test_no_numbers(self, value, saved):
        """1e300 is none either in the float32 of the model."""
        target, untouched = model(), model()
        with pytest.raises(InputError, match=f"in {LAST} that are infinite or no numbers in float32"):
            keras_vit.weights.load(target, change(saved, first_element(value)))
        assert same(target, untouched)

    def test_too_large_for_the_model(self, saved):
        change(saved, first_element(np.float32(1e6)))
        keras_vit.weights.load(model(dtype="bfloat16"), saved)
        with pytest.raises(InputError, match="infinite or no numbers in float16"):
            keras_vit.weights.load(model(dtype="float16"), saved)

    def test_large_ones_are_numbers(self, saved):
        """Their squares overflow."""
        target = model()
        keras_vit.weights.load(target, change(saved, first_element(np.float32(3e38))))
        assert np.asarray(target.get_layer("position_embedding").embedding).max() == np.float32(3e38)

    @pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "bool"])
    def test_whole_numbers(self, dtype, saved):
        target, untouched = model(), model()
        with pytest.raises(InputError, match=f"holds whole numbers in {LAST}, as quantised files do"):
            keras_vit.weights.load(target, change(saved, lambda array: array.astype(dtype)))
        assert same(target, untouched)


class TestAllOrNone:
    def test_damage_in_the_middle_of_an_npz(self, saved, tmp_path):
        """It is found when half of the arrays are in the model already."""
        arrays = load_file(saved)
        np.savez(tmp_path / "w.npz", **arrays)
        content = bytearray((tmp_path / "w.npz").read_bytes())
        content[content.index(arrays[LAST].tobytes()) + 5] ^= 1
        (tmp_path / "w.npz").write_bytes(content)
        target, untouched = model(), model()
        with pytest.raises(InputError, match="Bad CRC-32"):
            keras_vit.weights.load(target, tmp_path / "w.npz")
        assert same(target, untouched)

    def test_interrupted(self, saved, monkeypatch):
        target, untouched = model(), model()
        assigned = []
        assign = keras.Variable.assign

        def interrupted(variable, value):
            assigned.append(variable)
            if len(assigned) == 9:
                raise KeyboardInterrupt
            return assign(variable, value)

        monkeypatch.setattr(keras.Variable, "assign", interrupted)
        with pytest.raises(KeyboardInterrupt):
            keras_vit.weights.load(target, saved)
        assert len(assigned) > 9
        assert same(target, untouched)

    @pytest.mark.parametrize("how", ["replaced", "written to", "cut off"])
    def test_a_file_that_changes_meanwhile(self, how, saved, source):
        opened = locate(saved, parse("vit_mu16"))
        if how == "replaced":
            keras_vit.weights.save(model(seed=5), saved.parent)
        elif how == "written to":
            content = saved.read_bytes()
            saved.write_bytes(bytes(len(content)))
            os.utime(saved, ns=(1, 1))
        else:
            os.truncate(saved, 5000)
        with pytest.raises(Failure, match="was changed while it was read"):
            fill(model(), opened)

    def test_a_model_that_is_being_loaded_from_can_be_saved_onto(self, saved):
        folder = saved.parent
        target = model()
        for _ in range(2):
            keras_vit.weights.load(target, folder)
            keras_vit.weights.save(target, folder)
        assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
        assert same(model(weights=folder), target)


class TestModels:
    def test_compiled_and_trained(self, saved, source):
        target = model(dropout=0.1)
        target.compile("adamw", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        images, labels = np.zeros((8, 32, 32, 3), "uint8"), np.zeros(8)
        target.fit(images, labels, verbose=0)
        assert not same(target, source)
        assert keras_vit.weights.load(target, saved) == []
        assert same(target, source)
        np.testing.assert_array_equal(target.predict(images, verbose=0), source.predict(images, verbose=0))
        target.fit(images, labels, verbose=0)

    @pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16", "float64"])
    def test_other_precisions(self, dtype, saved, source):
        target = model(dtype=dtype)
        for _ in range(2):
            keras_vit.weights.load(target, saved)
        for there, here in zip(source.get_weights(), target.get_weights(), strict=True):
            np.testing.assert_array_equal(there.astype(here.dtype), here)
        assert target.weights[0].dtype == dtype.replace("mixed_bfloat16", "float32").replace("mixed_float16", "float32")

    def test_reloaded_and_cloned(self, saved, source, tmp_path):
        model().save(tmp_path / "w.keras")
        for target in (keras.saving.load_model(tmp_path / "w.keras"), keras.models.clone_model(model())):
            keras_vit.weights.load(target, saved)
            assert same(target, source)

    def test_made_in_a_name_scope(self, saved, source, tmp_path):
        with keras.name_scope("teacher"):
            target = model(weights=saved)
        assert same(target, source)
        assert same(model(weights=keras_vit.weights.save(target, tmp_path / "again")), source)

    def test_several_at_once(self, saved, source):
        targets = [model() for _ in range(4)]
        threads = [threading.Thread(target=keras_vit.weights.load, args=(target, saved)) for target in targets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(same(target, source) for target in targets)

    @pytest.mark.parametrize("other", ["vit_b16", None, keras.layers.Dense(2)])
    def test_no_model(self, other, saved):
        with pytest.raises(InputError, match="Weights belong to a model made by"):
            keras_vit.weights.load(other, saved)


def test_the_file_is_never_in_memory_as_a_whole(tmp_path):
    """88 MB, of which the largest array takes 2.4."""
    large = keras_vit.build("vit_s16", num_classes=1000, seed=1)
    large.save(tmp_path / "w.keras")
    for weights in (keras_vit.weights.save(large, tmp_path / "timm"), tmp_path / "w.keras"):
        opened = locate(weights, parse(large.name))
        tracemalloc.start()
        fill(large, opened)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20e6

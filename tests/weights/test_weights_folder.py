"""Folders with weights: which file is opened, what the settings beside it say, and folders that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import keras_vit
from keras_vit.errors import InputError
from keras_vit.preprocessing import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, PRESETS, Preprocessing
from keras_vit.weights.formats import open_checkpoint

ARRAYS = {
    "a": np.arange(6, dtype="float32").reshape(2, 3),
    "b": np.ones(4, "float32"),
    "c": np.zeros((1, 2), "float32"),
}
HALVES = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
IMAGENET = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}


def folder_with(folder: Path, **files) -> Path:
    """A folder with `ARRAYS` in `model.safetensors` and some JSON files (`config` is `config.json`)."""
    save_file(ARRAYS, folder / "model.safetensors")
    for name, content in files.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def sharded(folder: Path, places: dict[str, str] | None = None) -> Path:
    save_file({"a": ARRAYS["a"]}, folder / "model-00001-of-00002.safetensors")
    save_file({"b": ARRAYS["b"], "c": ARRAYS["c"]}, folder / "model-00002-of-00002.safetensors")
    first, second = (f"model-0000{i}-of-00002.safetensors" for i in (1, 2))
    index = {"metadata": {}, "weight_map": {"a": first, "b": second, "c": second, **(places or {})}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def assert_holds_arrays(checkpoint):
    assert dict(checkpoint.shapes) == {name: array.shape for name, array in ARRAYS.items()}
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(checkpoint.read(name), array)


def refuse(folder: Path, *words: str):
    with pytest.raises(InputError) as caught:
        open_checkpoint(folder)
    for word in words:
        assert word in str(caught.value), caught.value
    assert "\n" not in str(caught.value)


class TestWhichFile:
    def test_model_safetensors_before_anything_else(self, tmp_path):
        save_file({"other": ARRAYS["a"]}, tmp_path / "another.safetensors")
        (tmp_path / "pytorch_model.bin").write_bytes(b"not read")
        (tmp_path / "README.md").write_text("not weights")
        checkpoint = open_checkpoint(folder_with(tmp_path))
        assert_holds_arrays(checkpoint)
        assert checkpoint.path == tmp_path
        assert checkpoint.image_size is None
        assert checkpoint.preprocessing is None

    def test_the_only_file(self, tmp_path):
        save_file(ARRAYS, tmp_path / "vit_s16.safetensors")
        (tmp_path / "vit_s16.bin").write_bytes(b"the same in a worse form")
        assert_holds_arrays(open_checkpoint(tmp_path))

    def test_the_only_file_of_another_format(self, tmp_path):
        np.savez(tmp_path / "weights.npz", **ARRAYS)
        assert_holds_arrays(open_checkpoint(tmp_path))

    def test_shards(self, tmp_path):
        assert_holds_arrays(open_checkpoint(sharded(tmp_path)))

    def test_two_that_could_be_meant(self, tmp_path):
        for name in ("first", "second"):
            save_file(ARRAYS, tmp_path / f"{name}.safetensors")
        refuse(tmp_path, "several weights files (first.safetensors, second.safetensors)", "give the path")

    def test_an_empty_folder(self, tmp_path):
        refuse(tmp_path, str(tmp_path), "has no weights: it needs model.safetensors")

    def test_a_folder_without_weights(self, tmp_path):
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / ".hidden.safetensors").write_bytes(b"")
        refuse(tmp_path, "has no weights")

    def test_a_damaged_file(self, tmp_path):
        (tmp_path / "model.safetensors").write_bytes(b"damaged")
        refuse(tmp_path, "not a readable safetensors file")


class TestShards:
    def test_a_missing_one_is_named(self, tmp_path):
        (sharded(tmp_path) / "model-00002-of-00002.safetensors").unlink()
        refuse(tmp_path, "lists model-00002-of-00002.safetensors, which is not in")

    @pytest.mark.parametrize("place", ["../x.safetensors", "/etc/passwd", "sub/x.safetensors", "..\\x.safetensors"])
    def test_none_lies_outside_the_folder(self, place, tmp_path):
        inner = tmp_path / "inner"
        inner.mkdir()
        save_file(ARRAYS, tmp_path / "x.safetensors")
        refuse(sharded(inner, {"a": place}), "names a file outside its folder", place)

    @pytest.mark.parametrize("place", ["..", "", "."])
    def test_none_is_a_folder(self, place, tmp_path):
        refuse(sharded(tmp_path, {"a": place}), "model.safetensors.index.json")

    def test_of_an_unknown_kind(self, tmp_path):
        (tmp_path / "shard.h5").write_bytes(b"")
        refuse(sharded(tmp_path, {"a": "shard.h5"}), "lists shard.h5", "read from .safetensors")

    def test_without_what_the_index_says(self, tmp_path):
        refuse(sharded(tmp_path, {"d": "model-00001-of-00002.safetensors"}), "does not hold d, as")

    def test_with_more_than_the_index_says(self, tmp_path):
        save_file({"a": ARRAYS["a"], "d": ARRAYS["b"]}, sharded(tmp_path) / "model-00001-of-00002.safetensors")
        refuse(tmp_path, "model-00001-of-00002.safetensors holds d, unlike")

    @pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', "\x00"])
    def test_a_malformed_index(self, content, tmp_path):
        (sharded(tmp_path) / "model.safetensors.index.json").write_text(content)
        refuse(tmp_path, "model.safetensors.index.json")


HUGGINGFACE = {
    "google/vit-base-patch16-224": (
        {"do_normalize": True, "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 224},
        {**HALVES, "crop": 1.0, "interpolation": "bicubic", "fit": "squash"},
    ),
    "facebook/deit-base-patch16-224": (
        {
            "crop_size": 224,
            "do_center_crop": True,
            "image_mean": IMAGENET_MEAN,
            "image_std": IMAGENET_STD,
            "resample": 3,
            "size": 256,
        },
        {**IMAGENET, "crop": 0.875},
    ),
    "facebook/dinov2-base": (
        {
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": True,
            "image_mean": IMAGENET_MEAN,
            "image_std": IMAGENET_STD,
            "image_processor_type": "BitImageProcessor",
            "resample": 3,
            "size": {"shortest_edge": 256},
        },
        {**IMAGENET, "crop": 0.875},
    ),
    "openai/clip-vit-base-patch32": (
        {
            "crop_size": 224,
            "do_center_crop": True,
            "image_mean": CLIP_MEAN,
            "image_std": CLIP_STD,
            "resample": 3,
            "size": 224,
        },
        {"mean": CLIP_MEAN, "std": CLIP_STD, "crop": 1.0},
    ),
    "google/siglip-base-patch16-224": (
        {
            "do_resize": True,
            "image_mean": [0.5] * 3,
            "image_std": [0.5] * 3,
            "resample": 2,
            "size": {"height": 224, "width": 224},
        },
        {**HALVES, "crop": 1.0, "interpolation": "bilinear", "fit": "squash"},
    ),
    "without normalisation": (
        {"do_normalize": False, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 64, "width": 96}},
        {"mean": (0.0,) * 3, "std": (1.0,) * 3, "image_size": (64, 96), "crop": 1.0, "fit": "squash"},
    ),
}


class TestSettings:
    @pytest.mark.parametrize("settings", HUGGINGFACE)
    def test_of_huggingface(self, settings, tmp_path):
        given, wanted = HUGGINGFACE[settings]
        folder = folder_with(tmp_path, config={"model_type": "vit"}, preprocessor_config=given)
        assert open_checkpoint(folder).preprocessing == Preprocessing(**wanted)

    @pytest.mark.parametrize(
        ("config", "wanted"),
        [
            ({"image_size": 518}, (518, 518)),
            ({"image_size": [48, 80]}, (48, 80)),
            ({"model_type": "clip", "vision_config": {"image_size": 336}}, (336, 336)),
            ({"model_type": "siglip", "vision_config": {}}, None),
        ],
    )
    def test_image_size_of_huggingface(self, config, wanted, tmp_path):
        assert open_checkpoint(folder_with(tmp_path, config=config)).image_size == wanted

    def test_of_timm(self, tmp_path):
        settings = {
            "input_size": [3, 224, 224],
            "mean": [0.5] * 3,
            "std": [0.5] * 3,
            "crop_pct": 0.95,
            "interpolation": "bilinear",
            "crop_mode": "squash",
        }
        config = {"architecture": "vit_small_patch16_224", "num_classes": 5, "pretrained_cfg": settings}
        checkpoint = open_checkpoint(folder_with(tmp_path, config=config))
        record = Preprocessing(**HALVES, crop=0.95, interpolation="bilinear", fit="squash")
        assert (checkpoint.image_size, checkpoint.preprocessing) == ((224, 224), record)

        built = open_checkpoint(folder_with(tmp_path, config={**config, "model_args": {"img_size": [48, 80]}}))
        assert (built.image_size, built.preprocessing) == ((48, 80), record)

    def test_of_an_older_timm(self, tmp_path):
        config = {
            "architecture": "vit_base_patch16_224",
            "input_size": [3, 384, 384],
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
            "crop_pct": 1.0,
            "interpolation": "random",
        }
        checkpoint = open_checkpoint(folder_with(tmp_path, config=config))
        assert checkpoint.preprocessing == Preprocessing((384, 384), **IMAGENET, crop=1.0, interpolation="bicubic")

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("config", "{"),
            ("config", "[1]"),
            ("config", '{"image_size": "large"}'),
            ("config", '{"image_size": [1, 2, 3]}'),
            ("config", '{"image_size": -1}'),
            ("config", '{"vision_config": 5}'),
            ("config", '{"architecture": "vit"}'),
            ("config", '{"architecture": "vit", "pretrained_cfg": null}'),
            ("preprocessor_config", "\x00"),
            ("preprocessor_config", '{"image_mean": 0.5, "image_std": 0.5, "size": 224}'),
            ("preprocessor_config", '{"image_mean": [0.5], "image_std": [0.5], "size": {"longest_edge": 9}}'),
            ("preprocessor_config", '{"image_mean": [0.5], "size": 224}'),
        ],
    )
    def test_malformed(self, name, content, tmp_path):
        refuse(folder_with(tmp_path, **{name: content}), f"{name}.json")

    def test_not_text(self, tmp_path):
        (folder_with(tmp_path) / "config.json").write_bytes(b"\xff\xfe\x00")
        refuse(tmp_path, "config.json")


@pytest.mark.parametrize("dialect", ["timm", "huggingface"])
@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_what_was_saved_is_known_again(dialect, fit, tmp_path):
    record = Preprocessing((48, 80), PRESETS["clip"].mean, PRESETS["clip"].std, 0.875, "bilinear", fit)
    model = keras_vit.build("vit_mu16", num_classes=0, image_size=(48, 80), preprocessing=record, seed=0)
    folder = keras_vit.weights.save(model, tmp_path, dialect=dialect)
    checkpoint = open_checkpoint(folder)
    assert (checkpoint.image_size, checkpoint.preprocessing) == ((48, 80), record)

    # Other programs write the weights file anew and drop what it says about itself.
    arrays = {name: checkpoint.read(name).copy() for name in checkpoint.shapes}
    save_file(arrays, folder / "model.safetensors")
    checkpoint = open_checkpoint(folder)
    assert checkpoint.image_size == (48, 80)
    assert checkpoint.preprocessing.to_dict() == {**record.to_dict(), "crop": pytest.approx(0.875, abs=0.01)}
    again = keras_vit.build("vit_mu16", num_classes=0, image_size=(48, 80), weights=folder)
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)

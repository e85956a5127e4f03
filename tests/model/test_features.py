"""`features`: the maps inside a model, for every family, task and way to get a model."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import keras_vit
from keras_vit.errors import InputError
from keras_vit.heads import HEADS
from keras_vit.variants import FAMILIES

SMALL = {"num_classes": 5, "image_size": (32, 48), "depth": 3, "seed": 0}


def pixels(shape=(32, 48, 3)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, *shape)).astype("uint8")


def arrays(outputs) -> list[np.ndarray]:
    return [ops.convert_to_numpy(each) for each in outputs]


@pytest.mark.parametrize("family", FAMILIES if keras.backend.backend() != "jax" else ["vit_reg"])
def test_every_family(family):
    model = keras_vit.build(f"{family}_mu16", **SMALL)
    maps = keras_vit.features(model, [0, -1], norm=True)
    assert [tuple(output.shape) for output in maps.outputs] == [(None, 2, 3, 32)] * 2
    tokens = keras_vit.features(model, [0, 2], as_maps=False)
    prefix = model.get_layer("block_0").prefix
    for each, block in zip(arrays(maps(pixels())), tokens(pixels()), strict=True):
        assert block.shape == (2, prefix + 6, 32)
        expected = model.get_layer("norm")(block[:, prefix:])
        np.testing.assert_allclose(each, np.reshape(expected, (2, 2, 3, 32)), atol=1e-6)


@pytest.mark.parametrize("task", HEADS)
def test_every_task(task):
    """Nothing is copied, the model stays as it was, and a dense model's map covers the filled image."""
    size = (40, 50) if HEADS[task].dense else (48, 64)
    model = keras_vit.build("vit_reg_mu16", task=task, **{**SMALL, "image_size": size})
    before, config = ops.convert_to_numpy(model(pixels((*size, 3)))), model.to_json()
    maps = keras_vit.features(model, [1, 0, 1], norm=True)
    one, two, three = arrays(maps(pixels((*size, 3))))
    assert one.shape == (2, 3, 4, 32)
    assert (one == three).all()
    assert not (one == two).all()
    assert maps.get_layer("block_1") is model.get_layer("block_1")
    assert model.to_json() == config
    np.testing.assert_array_equal(model(pixels((*size, 3))), before)


def test_of_a_reloaded_model_and_saved_itself(tmp_path):
    model = keras_vit.build("vit_mu16", **SMALL)
    maps = keras_vit.features(model, [0, 2], norm=True)
    expected = arrays(maps(pixels()))
    model.save(tmp_path / "model.keras")
    maps.save(tmp_path / "maps.keras")
    reloaded = keras_vit.features(keras.saving.load_model(tmp_path / "model.keras"), [0, 2], norm=True)
    for other in (reloaded, keras.saving.load_model(tmp_path / "maps.keras"), keras_vit.features(reloaded, [0, 2])):
        assert [each.shape for each in arrays(other(pixels()))] == [(2, 2, 3, 32)] * 2
    for one, two in zip(arrays(reloaded(pixels())), expected, strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_last_normalised_tokens_are_what_the_head_gets():
    model = keras_vit.build("siglip_mu16", **{**SMALL, "num_classes": 0}, pooling="avg")
    last = keras_vit.features(model, norm=True)(pixels())
    np.testing.assert_allclose(ops.mean(last, axis=(1, 2)), model(pixels()), atol=1e-6)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(dtype):
    model = keras_vit.build("vit_mu16", dtype=dtype, **SMALL)
    one = keras_vit.features(model, [1], norm=True)(pixels())
    assert keras.backend.standardize_dtype(one.dtype) == dtype.removeprefix("mixed_")
    two = keras_vit.features(keras_vit.build("vit_mu16", **SMALL), [1], norm=True)(pixels())
    np.testing.assert_allclose(ops.cast(one, "float32"), two, atol=0.1)


def test_merged_tokens():
    model = keras_vit.build("vit_mu16", token_merging={1: 2}, **SMALL)
    early = keras_vit.features(model, [0])(pixels())
    assert early.shape == (2, 2, 3, 32)
    merged = keras_vit.features(model, [1, 2], as_maps=False)(pixels())
    assert [each.shape for each in arrays(merged)] == [(2, 5, 32)] * 2
    with pytest.raises(InputError, match="patches of block 2 are merged"):
        keras_vit.features(model, [0, 2])


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ([3], "There is no block 3: the model has blocks 0 to 2"),
        ([-4], "There is no block -4"),
        (["block_1"], "There is no block 'block_1'"),
        (1, "layers is a list of block numbers"),
        ([], "layers is a list of block numbers"),
    ],
)
def test_wrong_layers_get_one_sentence(layers, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        keras_vit.features(keras_vit.build("vit_mu16", **SMALL), layers)
    assert "\n" not in str(caught.value)


def test_other_models_get_one_sentence():
    stranger = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="stranger")
    for given in (stranger, "vit_b16", None):
        with pytest.raises(InputError, match=r"made by keras_vit\.build"):
            keras_vit.features(given)

"""`attention`: the scores that a model really computes with, as transformers says and as its outputs show."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import keras_vit
from keras_vit.errors import InputError
from keras_vit.explain import replay_of
from keras_vit.heads import HEADS
from keras_vit.variants import FAMILIES

SMALL = {"num_classes": 3, "image_size": (32, 48), "depth": 2, "seed": 0}
FIRST_TOKENS = {"image_size": (64, 96), "token_merging": {0: 12, 1: 3}, "depth": 3}
VARIED = {
    "no class token": {"class_token": False, "pooling": "avg"},
    "registers": {"registers": 3},
    "attention pooling": {"pooling": "map"},
    "average": {"pooling": "avg"},
    "windows": {"image_size": (80, 112), "window": (2, 3), "depth": 5},
    "merged": FIRST_TOKENS,
    "merged, averaged": {**FIRST_TOKENS, "pooling": "avg"},
    "merged, attention pooling": {**FIRST_TOKENS, "pooling": "map"},
    "features": {"num_classes": 0},
}

DIFFERENT = {"vit", "deit_distilled", "dinov2_reg", "dinov3", "siglip", "vit_reg", "beit", "eva02"}
"""Families of the default tests, which differ in what attention is; the long ones go through all."""


def pixels(shape=(32, 48)) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2, *shape, 3), "uint8")


def built(randomize, name: str = "vit_mu16", **settings) -> keras.Model:
    model = keras_vit.build(name, **{**SMALL, **settings})
    randomize(model)
    return model


def assert_true(model: keras.Model, images: np.ndarray, bound: float = 1e-5) -> keras_vit.explain.Attention:
    """Rows sum to one, all of them are there, and with these scores the model's own outputs come out."""
    found = keras_vit.attention(model, images)
    replay = replay_of(model)
    blocks, heads, count = len(replay.blocks), replay.blocks[0].num_heads, len(found.tokens)
    assert found.scores.shape == (len(images), blocks, heads, count, count)
    assert found.scores.dtype == "float32"
    assert (found.scores >= 0).all()
    np.testing.assert_allclose(found.scores.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(found.readers.sum(-1), 1, atol=1e-5)
    assert found.maps().shape == (len(images), blocks, heads, *found.grid)
    played = replay.play(images.astype("float32"))
    again, wanted = replay.head(played.leaving, training=False), model(images, training=False)
    wanted = ops.convert_to_numpy(ops.cast(wanted, "float32"))
    error = np.abs(ops.convert_to_numpy(ops.cast(again, "float32")) - wanted).max() / max(1, np.abs(wanted).max())
    assert error < bound, error
    return found


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[pytest.mark.slow] * (name not in DIFFERENT)) for name in FAMILIES]
)
def test_every_family(family, randomize):
    found = assert_true(built(randomize, f"{family}_mu16"), pixels())
    given = FAMILIES[family]
    prefix = ["class_token"] * given.class_token + [f"register_{index}" for index in range(given.registers)]
    assert found.tokens == (*prefix, *(f"patch_{row}_{column}" for row in range(2) for column in range(3)))


@pytest.mark.parametrize("settings", VARIED.values(), ids=VARIED)
def test_every_kind(settings, randomize):
    model = built(randomize, **settings)
    found = assert_true(model, pixels(model.input_shape[1:3]))
    if "token_merging" in settings:
        assert len(found.tokens) == 1 + 24
        assert replay_of(model).blocks[2].input[0].shape[1] == 1 + 24 - 15


@pytest.mark.parametrize("family", ["beit", "dinov3", "eva02"])
def test_merged_tokens_that_have_positions(family, randomize):
    assert_true(built(randomize, f"{family}_mu16", **FIRST_TOKENS), pixels((64, 96)))


@pytest.mark.parametrize(("task", "head"), [(task, head) for task in HEADS for head in HEADS[task].by_name])
def test_every_head(task, head, randomize):
    size = (40, 50) if HEADS[task].dense else (32, 48)
    found = assert_true(built(randomize, task=task, head=head, image_size=size), pixels(size))
    assert found.grid == ((3, 4) if HEADS[task].dense else (2, 3))


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["vit_mu16", "dinov3_mu16"])
def test_mixed_precision(name, dtype, randomize):
    found = assert_true(built(randomize, name, dtype=dtype), pixels(), bound=0.02)
    wanted = keras_vit.attention(built(randomize, name), pixels())
    np.testing.assert_allclose(found.scores, wanted.scores, atol=0.05)


def test_what_is_read(randomize):
    """The class token's row of a classifier with one, of DeiT's both tokens' mean, the patches' mean of an average."""
    token = keras_vit.attention(built(randomize), pixels())
    np.testing.assert_array_equal(token.maps(), token.maps("class_token"))
    np.testing.assert_array_equal(token.maps()[1, 0, 1].reshape(-1), token.scores[1, 0, 1, 0, 1:])
    np.testing.assert_array_equal(np.asarray(token), token.scores)
    both = keras_vit.attention(built(randomize, "deit_distilled_mu16"), pixels())
    wanted = (both.maps("class_token") + both.maps("register_0")) / 2
    np.testing.assert_allclose(both.maps(), wanted, rtol=1e-6)
    average = keras_vit.attention(built(randomize, pooling="avg"), pixels())
    np.testing.assert_allclose(average.maps().reshape(2, 2, 2, 6), average.scores[..., 1:, 1:].mean(-2), rtol=1e-5)
    np.testing.assert_array_equal(average.maps("patch_1_2").reshape(2, 2, 2, 6), average.scores[..., -1, 1:])


def test_pooling_by_attention_reads_what_it_looks_at(randomize):
    model = built(randomize, "siglip_mu16")
    pool = model.get_layer("pool")
    tokens = keras.Model(model.input, pool.input)(pixels())
    query = pool.query(ops.broadcast_to(pool.probe, (2, 1, 32)))
    key = ops.split(pool.key_value(tokens), 2, axis=-1)[0]
    query, key = (ops.transpose(ops.reshape(each, (2, -1, 2, 16)), (0, 2, 1, 3)) for each in (query, key))
    shares = ops.softmax(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) / 4)
    wanted = ops.convert_to_numpy(shares)[:, :, 0].mean(1)
    np.testing.assert_allclose(keras_vit.attention(model, pixels()).readers, wanted, atol=1e-6)


def test_windows_are_dense_attention_with_holes(randomize):
    model = built(randomize, **VARIED["windows"])
    images = pixels((80, 112))
    assert [block.window for block in replay_of(model).blocks].count((2, 3)) == 1
    found = keras_vit.attention(model, images)
    rows, columns = (axis.reshape(-1) for axis in np.indices((5, 7)))
    place = rows // 2 * 10 + columns // 3
    apart = np.pad(place[:, None] != place, ((1, 0), (1, 0)))
    for index, block in enumerate(replay_of(model).blocks):
        tokens = keras.Model(model.input, block.input)(images)
        query, key, _ = np.split(ops.convert_to_numpy(block.attention.qkv(block.norm1(tokens))), 3, axis=-1)
        query, key = (each.reshape(2, 36, 2, 16).transpose(0, 2, 1, 3) for each in (query, key))
        scores = np.exp(query @ key.swapaxes(2, 3) / 4) * (~apart if block.window else 1)
        np.testing.assert_allclose(found.scores[:, index], scores / scores.sum(-1, keepdims=True), atol=1e-5)


def test_of_equal_patches_merging_changes_nothing(randomize):
    """Without positions, two equal patches and one that counts twice are the same to all that follows."""
    options = {"image_size": (64, 96), "depth": 3}
    plain, merging = built(randomize, **options), built(randomize, token_merging={0: 12, 1: 6}, **options)
    plain.get_layer("position_embedding").embedding.assign(np.zeros((25, 32)))
    merging.set_weights(plain.get_weights())
    images = fourfold()
    wanted, found = keras_vit.attention(plain, images), keras_vit.attention(merging, images)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=2e-5)


def fourfold() -> np.ndarray:
    """Images of 4 x 6 patches in which every patch is there four times in a row."""
    patches = np.random.default_rng(0).integers(0, 256, (2, 6, 16, 16, 3)).repeat(4, axis=1)
    images = patches.reshape(2, 4, 6, 16, 16, 3).transpose(0, 1, 3, 2, 4, 5)
    return images.reshape(2, 64, 96, 3).astype("uint8")


def test_layers_and_heads(randomize):
    model = built(randomize, depth=4)
    whole = keras_vit.attention(model, pixels())
    some = keras_vit.attention(model, pixels(), layers=[-1, 1], heads=(1,))
    assert (some.layers, some.heads) == ((3, 1), (1,))
    np.testing.assert_array_equal(some.scores, whole.scores[:, [3, 1]][:, :, [1]])


def test_many_images_at_once_are_each_alone(randomize):
    model = built(randomize)
    images = np.random.default_rng(2).integers(0, 256, (18, 32, 48, 3), "uint8")
    whole = keras_vit.attention(model, images)
    np.testing.assert_allclose(whole.scores[17:], keras_vit.attention(model, images[17:]).scores, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="counts TensorFlow's traces")
def test_the_model_is_left_alone(randomize):
    model = built(randomize, depth=1)
    model.compile("sgd", "mse")
    model.fit(pixels(), np.zeros((2, 3)), verbose=0)
    before, config, weights = model.predict(pixels(), verbose=0), model.get_config(), model.get_weights()
    functions = model.predict_function, model.train_function
    traces = model.predict_function.experimental_get_tracing_count()
    for _ in range(2):
        keras_vit.attention(model, pixels())
    np.testing.assert_array_equal(model.predict(pixels(), verbose=0), before)
    assert (model.predict_function, model.train_function) == functions
    assert model.predict_function.experimental_get_tracing_count() == traces
    assert model.get_config() == config
    assert all((one == two).all() for one, two in zip(model.get_weights(), weights, strict=True))


def test_of_a_reloaded_model(randomize, tmp_path):
    model = built(randomize)
    wanted = keras_vit.attention(model, pixels()).scores
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras_vit.attention(reloaded, pixels()).scores, wanted)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"layers": [2]}, r"There is no block 2: the model has blocks 0 to 1 \(or -1\)"),
        ({"layers": 1}, "Give a list of block numbers"),
        ({"layers": []}, "Give a list of block numbers"),
        ({"heads": [-3]}, "There is no head -3: the model has heads 0 to 1"),
        ({"heads": "all"}, "Give a list of head numbers"),
        ({"images": np.zeros((2, 48, 32, 3))}, r"images have the shape \(B, 32, 48, 3\)"),
        ({"images": np.zeros((32, 48, 3))}, r"images have the shape \(B, 32, 48, 3\)"),
        ({"images": np.zeros((0, 32, 48, 3))}, r"images have the shape \(B, 32, 48, 3\)"),
    ],
)
def test_wrong_arguments_get_one_sentence(arguments, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        keras_vit.attention(keras_vit.build("vit_mu16", **SMALL), **{"images": pixels(), **arguments})
    assert "\n" not in str(caught.value)


def test_other_models_and_tokens_get_one_sentence():
    stranger = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="stranger")
    for given in (stranger, "vit_b16", None):
        with pytest.raises(InputError, match=r"made by keras_vit\.build"):
            keras_vit.attention(given, pixels())
    found = keras_vit.attention(keras_vit.build("vit_mu16", **SMALL), pixels())
    with pytest.raises(InputError, match="There is no token 'register_0': there are class_token, patch_0_0"):
        found.maps("register_0")

"""Windowed attention against full attention with a mask, and the models that have it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import keras_vit
from keras_vit.encoder import window_schedule
from keras_vit.errors import InputError
from keras_vit.layers import EncoderBlock, SelfAttention
from keras_vit.layers.attention import attend
from keras_vit.layers.windows import Windows
from keras_vit.variants import FAMILIES

SMALL = {"num_classes": 5, "image_size": (80, 112), "depth": 4, "seed": 0}


many_shapes = pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="JAX compiles every operation for every shape, for minutes"
)


def tokens(grid, prefix, width: int = 16) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, prefix + grid[0] * grid[1], width)).astype("float32")


def apart(grid, window, prefix) -> np.ndarray:
    """(N, N), true where two patches are in different windows."""
    rows, columns = (axis.reshape(-1) for axis in np.indices(grid))
    which = rows // window[0] * 1000 + columns // window[1]
    return np.pad(which[:, None] != which, ((prefix, 0), (prefix, 0)))


class Masked(SelfAttention):
    """Full attention with a mask over all pairs, as a judge."""

    forbidden = None

    def call(self, inputs):
        query, key, value = ops.split(self.qkv(inputs), 3, axis=-1)
        if self.qkv_bias == "query_value":
            query, value = query + self.query_bias, value + self.value_bias
        bias = np.where(self.forbidden, -1e9, 0).astype("float32")[None, None]
        bias = bias + self.bias(query) if self.bias else bias
        return self.projection(attend(query, key, value, self.num_heads, rotary=self.tables, bias=bias))


@pytest.mark.parametrize("positions", ["none", "eva02", "dinov3", "relative"])
@pytest.mark.parametrize("prefix", [0, 1, 3])
@pytest.mark.parametrize("grid", [pytest.param((4, 6), marks=many_shapes), (5, 7)])
def test_equals_full_attention_with_a_mask(grid, prefix, positions, randomize):
    if positions == "relative" and prefix != 1:
        pytest.skip("a relative bias goes with one class token")
    rotary = positions if positions in ("eva02", "dinov3") else None
    options = {"qkv_bias": "query_value", "rotary": rotary, "relative_bias": positions == "relative"}
    x = tokens(grid, prefix)
    for window in ((2, 3), (3, 3), (1, 4), grid)[:: 3 if keras.backend.backend() == "jax" else 1]:
        judge = Masked(2, grid=grid, prefix=prefix, **options)
        layer = SelfAttention(2, grid=grid, prefix=prefix, window=window, **options)
        judge.build(x.shape)
        layer.build(x.shape)
        randomize(judge)
        layer.set_weights(judge.get_weights())
        judge.forbidden = apart(grid, window, prefix)
        if window == grid:
            assert not judge.forbidden.any()
        np.testing.assert_allclose(layer(x), judge(x), atol=2e-5, rtol=1e-5)


def test_cut_and_join():
    windows = Windows((5, 7), (2, 3))
    x = tokens((5, 7), 0)
    cut = windows.cut(x)
    assert cut.shape == (2 * 9, 6, 16)
    np.testing.assert_array_equal(windows.join(cut), x)
    np.testing.assert_array_equal(cut[1], x[0].reshape(5, 7, 16)[:2, 3:6].reshape(6, 16))
    assert (np.asarray(cut[8])[[1, 2, 3, 4, 5]] == 0).all()
    assert (windows.mask(1)[8, 2:] < 0).all()
    assert not windows.mask(1)[8, :2].any()
    assert Windows((4, 6), (2, 3)).mask(1) is None


@many_shapes
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family, randomize, tmp_path):
    model = keras_vit.build(f"{family}_mu16", window=(2, 3), global_blocks=(-1,), **SMALL)
    full = keras_vit.build(f"{family}_mu16", **SMALL)
    randomize(full)
    assert [w.path.split("/", 1)[1] for w in model.weights] == [w.path.split("/", 1)[1] for w in full.weights]
    model.set_weights(full.get_weights())
    assert [model.get_layer(f"block_{i}").window for i in range(4)] == [(2, 3)] * 3 + [None]
    images = np.random.default_rng(0).integers(0, 256, (2, 80, 112, 3)).astype("uint8")
    logits = ops.convert_to_numpy(model(images))
    assert np.isfinite(logits).all()
    assert np.abs(logits - ops.convert_to_numpy(full(images))).max() > 1e-4
    covered = keras_vit.build(f"{family}_mu16", window=14, **SMALL)
    covered.set_weights(full.get_weights())
    np.testing.assert_array_equal(covered(images), full(images))
    if family in ("vit", "dinov3", "beit"):
        model.save(tmp_path / "model.keras")
        copy = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(copy(images), logits)
        assert copy.get_layer("block_0").window == model.get_layer("block_0").window


@many_shapes
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(dtype):
    options = {"window": 3, "task": "segmentation", **SMALL, "image_size": (70, 100)}
    images = np.random.default_rng(0).integers(0, 256, (2, 70, 100, 3)).astype("uint8")
    model, reference = (keras_vit.build("vit_mu16", dtype=name, **options) for name in (dtype, "float32"))
    np.testing.assert_allclose(model(images), reference(images), atol=5e-3)


def test_schedule():
    assert window_schedule(None, None, 12, (30, 40)) == ()
    default = window_schedule(14, None, 12, (30, 40))
    assert [i for i, window in enumerate(default) if window is None] == [2, 5, 8, 11]
    assert set(default) == {None, (14, 14)}
    assert window_schedule((7, 50), (), 2, (30, 40)) == ((7, 40), (7, 40))
    assert window_schedule(40, None, 12, (30, 40)) == ()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"window": 0}, "window is a number of patches"),
        ({"window": (2, 2, 2)}, "window is a number of patches"),
        ({"window": 2.5}, "window is a number of patches"),
        ({"window": 2, "global_blocks": [4]}, "global_blocks names block 4: there are blocks 0 to 3"),
        ({"window": 2, "global_blocks": 2}, "global_blocks is a list of block numbers"),
        ({"global_blocks": [1]}, "give window"),
        ({"window": 2, "global_blocks": (), "token_merging": 2}, "take one of the two"),
    ],
)
def test_wrong_arguments_get_one_sentence(arguments, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        keras_vit.build("vit_mu16", **{**SMALL, **arguments})
    assert "\n" not in str(caught.value)


def test_layers_refuse_what_cannot_be():
    with pytest.raises(ValueError, match="needs a grid"):
        SelfAttention(2, window=(2, 2))
    with pytest.raises(ValueError, match="merges tokens has no windows"):
        EncoderBlock(2, 32, grid=(4, 4), merged=2, window=(2, 2))

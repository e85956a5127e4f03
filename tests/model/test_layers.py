"""Every layer of the package: shapes, precision, config round trip, and what it computes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_vit import layers
from keras_vit.layers.attention import attend
from keras_vit.layers.initializers import QuickTruncatedNormal, child_seed
from keras_vit.layers.position_embedding import resample_positions, sincos_positions

TOKENS = (2, 7, 16)
CASES = {
    "AttentionPooling": ({"num_heads": 4, "mlp_dim": 32}, TOKENS, (2, 16)),
    "EncoderBlock": (
        {
            "num_heads": 4,
            "mlp_dim": 32,
            "dropout": 0.1,
            "drop_path": 0.1,
            "gated": True,
            "mlp_norm": True,
            "layer_scale": 0.1,
            "qkv_bias": "query_value",
            "rotary": "eva02",
            "relative_bias": True,
            "grid": (2, 3),
        },
        TOKENS,
        TOKENS,
    ),
    "ConvNorm": ({"width": 8, "kernel": 3}, (2, 4, 5, 6), (2, 4, 5, 8)),
    "Dense": ({"units": 8}, TOKENS, (2, 7, 8)),
    "Doubling": ({"width": 8}, (2, 4, 5, 6), (2, 8, 10, 8)),
    "Dropout": ({"rate": 0.3}, TOKENS, TOKENS),
    "FeaturePyramid": (
        {"patch_size": 16, "strides": (8, 32), "width": 8, "image_size": (60, 80)},
        (2, 4, 5, 6),
        [(2, 8, 10, 8), (2, 2, 3, 8)],
    ),
    "LayerNorm": ({"epsilon": 1e-6}, TOKENS, TOKENS),
    "LayerScale": ({"initial": 0.5}, TOKENS, TOKENS),
    "MLP": ({"hidden_dim": 32, "dropout": 0.1, "activation": "quick_gelu"}, TOKENS, TOKENS),
    "PatchEmbedding": ({"patch_size": 4, "width": 16}, (2, 8, 12, 3), (2, 6, 16)),
    "PatchMap": ({"grid": (2, 3), "prefix": 1}, TOKENS, (2, 2, 3, 16)),
    "PixelNormalization": (
        {"preprocessing": {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}},
        (2, 8, 8, 3),
        (2, 8, 8, 3),
    ),
    "PositionEmbedding": ({"grid": (2, 3), "prefix": 1, "sincos": True}, TOKENS, TOKENS),
    "PrefixTokens": ({"count": 3}, TOKENS, (2, 10, 16)),
    "RelativePositionBias": ({"num_heads": 4, "grid": (2, 3)}, TOKENS, (1, 4, 7, 7)),
    "SelfAttention": ({"num_heads": 4, "rotary": "dinov3", "grid": (2, 3), "qkv_bias": "none"}, TOKENS, TOKENS),
    "StochasticDepth": ({"rate": 0.3}, TOKENS, TOKENS),
    "TokenPooling": ({"mode": "avg", "prefix": 1}, TOKENS, (2, 16)),
}


def make(kind: str, **extra):
    return getattr(layers, kind)(**CASES[kind][0], **extra)


def test_no_layer_escapes():
    assert set(CASES) == set(layers.__all__)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_shape_and_precision(name, dtype):
    layer = make(name, dtype=dtype)
    inputs = np.random.default_rng(0).uniform(-1, 1, CASES[name][1]).astype("float32")
    shapes = CASES[name][2] if isinstance(CASES[name][2], list) else [CASES[name][2]]
    outputs = keras.tree.flatten(layer(inputs))
    assert [output.shape for output in outputs] == shapes
    assert layer.compute_output_shape(CASES[name][1]) == CASES[name][2]
    always_float32 = name == "PixelNormalization"
    for output in outputs:
        assert keras.backend.standardize_dtype(output.dtype) == ("float32" if always_float32 else layer.compute_dtype)
        assert np.isfinite(ops.convert_to_numpy(ops.cast(output, "float32"))).all()
    assert all(keras.backend.standardize_dtype(v.dtype) == "float32" for v in layer.weights)


@pytest.mark.parametrize("name", CASES)
def test_config_rebuilds_the_layer(name):
    layer = make(name, name="x")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    inputs = np.random.default_rng(0).uniform(0, 1, CASES[name][1]).astype("float32")
    expected = layer(inputs)
    copy(inputs)
    copy.set_weights(layer.get_weights())
    for again, once in zip(keras.tree.flatten(copy(inputs)), keras.tree.flatten(expected), strict=True):
        np.testing.assert_array_equal(again, once)


@pytest.mark.parametrize("name", CASES)
def test_seed_repeats_the_layer(name):
    inputs = np.random.default_rng(0).uniform(0, 1, CASES[name][1]).astype("float32")
    if "seed" not in make(name).get_config():
        pytest.skip("nothing random in it")
    one, two = (
        make(name, seed=3)(inputs, training=True)
        if name in ("EncoderBlock", "MLP", "StochasticDepth")
        else make(name, seed=3)(inputs)
        for _ in range(2)
    )
    for a, b in zip(keras.tree.flatten(one), keras.tree.flatten(two), strict=True):
        np.testing.assert_array_equal(a, b)


def test_attention_is_the_formula():
    rng = np.random.default_rng(0)
    query, key, value = (rng.normal(size=(2, 5, 8)).astype("float32") for _ in range(3))
    expected = []
    for head in range(2):
        q, k, v = (x[:, :, head * 4 : head * 4 + 4] for x in (query, key, value))
        scores = np.exp(q @ k.transpose(0, 2, 1) / 2.0)
        expected.append(scores / scores.sum(-1, keepdims=True) @ v)
    np.testing.assert_allclose(
        attend(*map(ops.convert_to_tensor, (query, key, value)), 2), np.concatenate(expected, -1), atol=1e-6
    )


def test_block_is_pre_norm_and_residual():
    block = layers.EncoderBlock(4, 32, seed=0)
    tokens = np.random.default_rng(0).normal(size=TOKENS).astype("float32")
    output = block(tokens)
    inner = tokens + block.attention(block.norm1(tokens))
    np.testing.assert_allclose(output, inner + block.mlp(block.norm2(inner)), atol=1e-6)


def test_float16_attention_survives_scores_above_its_range():
    # 64 x 60 x 60 = 230 400 overflows float16 before the division by 8, and 28 800 after it does not.
    huge = ops.full((1, 3, 64), 60.0, dtype="float16")
    assert np.isfinite(ops.convert_to_numpy(attend(huge, huge, huge, 1))).all()


def test_no_two_kernels_of_a_block_are_copies():
    block = layers.EncoderBlock(4, 64, seed=0)
    block.build((None, 7, 16))
    kernels = [ops.convert_to_numpy(v).ravel()[:200] for v in block.weights if v.name == "kernel"]
    assert len(kernels) == 4
    for i, one in enumerate(kernels):
        for other in kernels[:i]:
            assert abs(np.corrcoef(one, other)[0, 1]) < 0.3


def test_truncated_normal_has_its_moments():
    drawn = ops.convert_to_numpy(QuickTruncatedNormal(0.02, seed=1)((400, 500)))
    assert np.abs(drawn).max() <= 0.04
    # The standard deviation of a normal cut at two is 0.87962566 of the uncut one.
    assert drawn.std() == pytest.approx(0.02 * 0.87962566, rel=5e-3)
    assert abs(drawn.mean()) < 2e-4


def test_child_seeds_differ():
    seeds = {child_seed(seed, index) for seed in range(20) for index in range(60)}
    assert len(seeds) == 20 * 60
    assert child_seed(None, 3) is None


class TestStochasticDepth:
    def test_keeps_the_expectation_and_drops_whole_images(self):
        layer = layers.StochasticDepth(0.25, seed=0)
        output = ops.convert_to_numpy(layer(np.ones((4000, 2, 3), "float32"), training=True))
        per_image = output.reshape(4000, -1)
        assert (per_image == per_image[:, :1]).all()
        np.testing.assert_allclose(np.unique(per_image), [0, 1 / 0.75], rtol=1e-6)
        assert output.mean() == pytest.approx(1, abs=0.03)

    def test_is_the_identity_outside_training(self):
        branch = np.ones((3, 2), "float32")
        np.testing.assert_array_equal(layers.StochasticDepth(0.9)(branch, training=False), branch)

    @pytest.mark.parametrize("rate", [-0.1, 1.0])
    def test_refuses_rates_out_of_range(self, rate):
        with pytest.raises(ValueError, match="rate of stochastic depth"):
            layers.StochasticDepth(rate)


class TestPooling:
    def test_average_leaves_the_class_token_out(self):
        tokens = np.random.default_rng(0).normal(size=TOKENS).astype("float32")
        pooled = layers.TokenPooling("avg", prefix=1)(tokens)
        np.testing.assert_allclose(pooled, tokens[:, 1:].mean(1), atol=1e-6)

    def test_token_takes_the_first(self):
        tokens = np.random.default_rng(0).normal(size=TOKENS).astype("float32")
        np.testing.assert_array_equal(layers.TokenPooling("token")(tokens), tokens[:, 0])

    @pytest.mark.parametrize(("mode", "prefix"), [("max", 1), ("token", 0)])
    def test_refuses_what_it_cannot_do(self, mode, prefix):
        with pytest.raises(ValueError, match="TokenPooling takes"):
            layers.TokenPooling(mode, prefix)


class TestPositions:
    def test_prefix_rows_stay_and_a_smooth_map_is_resampled_smoothly(self):
        rows, columns = np.mgrid[:8, :6] + 0.5
        table = np.concatenate([[[7.0, 8.0]], np.stack([rows / 8, columns / 6], -1).reshape(-1, 2)]).astype("float32")
        resized = resample_positions(table, (8, 6), (16, 12), 1)
        np.testing.assert_array_equal(resized[0], [7, 8])
        rows, columns = np.mgrid[:16, :12] + 0.5
        inside = (slice(3, -3), slice(3, -3))
        maps = resized[1:].reshape(16, 12, 2)
        np.testing.assert_allclose(maps[..., 0][inside], (rows / 16)[inside], atol=5e-3)
        np.testing.assert_allclose(maps[..., 1][inside], (columns / 12)[inside], atol=5e-3)

    @pytest.mark.parametrize(
        ("old", "new"), [((7, 7), (7, 7)), ((4, 6), (9, 3)), ((14, 14), (5, 8)), ((3, 3), (30, 20))]
    )
    def test_a_constant_map_stays_constant_on_every_grid(self, old, new):
        table = np.full((old[0] * old[1], 4), 0.5, "float32")
        resized = resample_positions(table, old, new, 0)
        assert resized.shape == (new[0] * new[1], 4)
        np.testing.assert_allclose(resized, 0.5, atol=1e-5)

    def test_a_table_of_the_wrong_length_is_refused(self):
        with pytest.raises(ValueError, match="does not fit"):
            resample_positions(np.zeros((10, 4)), (3, 4), (6, 6), 1)

    def test_sincos_tells_all_places_apart(self):
        table = sincos_positions((5, 7), 2, 32)
        assert table.shape == (37, 32)
        assert not table[:2].any()
        distances = np.linalg.norm(table[2:, None] - table[None, 2:], axis=-1) + 10 * np.eye(35)
        assert distances.min() > 0.1
        with pytest.raises(ValueError, match="4 divides"):
            sincos_positions((2, 2), 0, 30)

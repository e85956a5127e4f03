"""Token merging against the paper's pseudocode, and what must hold whatever is merged."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import keras_vit
from keras_vit.encoder import merging_schedule
from keras_vit.errors import InputError
from keras_vit.layers import EncoderBlock, SelfAttention
from keras_vit.layers.token_merging import mean_key, merge_tokens
from keras_vit.training.recipe import Recipe
from keras_vit.variants import FAMILIES

GRID = {"grid": (4, 6), "prefix": 1}
SMALL = {"num_classes": 5, "image_size": (64, 96), "depth": 4, "seed": 0}


def pixels(batch: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (batch, 64, 96, 3)).astype("uint8")


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(size=shape).astype("float32")


def tome(x, metric, size, r):
    """The pseudocode of the paper's appendix for one image with a class token, by sorting, in numpy.

    x (N, D), metric (N, d), size (N, 1) -> merged x and size.
    """
    metric = metric / np.linalg.norm(metric, axis=-1, keepdims=True)
    scores = metric[::2] @ metric[1::2].T
    scores[0] = -np.inf
    node_max, node_idx = scores.max(-1), scores.argmax(-1)
    edge_idx = np.argsort(-node_max, kind="stable")
    unm_idx, src_idx = np.sort(edge_idx[r:]), edge_idx[:r]
    dst_idx = node_idx[src_idx]

    def merge(values):
        src, dst = values[::2], values[1::2].copy()
        np.add.at(dst, dst_idx, src[src_idx])
        return np.concatenate([src[unm_idx], dst])

    total = merge(size)
    return merge(x * size) / total, total


def transformer(x, blocks, counts):
    """A plain encoder block with merging for one image, in numpy: x, sizes, weights and r of each block."""
    size = np.ones((len(x), 1))
    for weights, r in zip(blocks, counts, strict=True):
        w = {name: np.asarray(value, "float64") for name, value in weights.items()}

        def norm(x, name, w=w):
            centred = x - x.mean(-1, keepdims=True)
            scaled = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-6)
            return scaled * w[f"{name}/gamma"] + w[f"{name}/beta"]

        q, k, v = np.split(norm(x, "norm1") @ w["attention/qkv/kernel"] + w["attention/qkv/bias"], 3, axis=-1)
        heads, mixed = (np.split(part, 2, axis=-1) for part in (q, k, v)), []
        for query, key, value in zip(*heads, strict=True):
            scores = np.exp(query @ key.T / np.sqrt(query.shape[-1])) * size[:, 0]
            mixed.append(scores / scores.sum(-1, keepdims=True) @ value)
        x = x + np.concatenate(mixed, -1) @ w["attention/projection/kernel"] + w["attention/projection/bias"]
        if r:
            x, size = tome(x, (k[:, :16] + k[:, 16:]) / 2, size, r)
        hidden = norm(x, "norm2") @ w["mlp/expand/kernel"] + w["mlp/expand/bias"]
        hidden = ops.convert_to_numpy(ops.gelu(hidden, approximate=False))
        x = x + hidden @ w["mlp/contract/kernel"] + w["mlp/contract/bias"]
    return x, size


def swept(families):
    """All families, those that differ in what merging has to do in the default tests, the others in the long ones."""
    different = {"vit", "deit_distilled", "siglip", "beit", "eva02"}
    return [pytest.param(name, marks=[] if name in different else pytest.mark.slow) for name in families]


class TestMerge:
    @pytest.mark.parametrize(("count", "n"), [(1, 25), (7, 25), (11, 25), (12, 25), (9, 24), (11, 24), (40, 197)])
    @pytest.mark.parametrize("sized", [False, True])
    def test_equals_the_paper(self, count, n, sized):
        x, metric = normal(3, n, 8), normal(3, n, 6)[..., ::-1].copy()
        sizes = np.random.default_rng(1).integers(1, 5, (3, n, 1)).astype("float32") if sized else None
        tokens, merged = merge_tokens(x, metric, sizes, count=count)
        assert (tokens.shape, merged.shape) == ((3, n - count, 8), (3, n - count, 1))
        for i in range(3):
            expected = tome(x[i], metric[i], sizes[i] if sized else np.ones((n, 1), "float32"), count)
            np.testing.assert_allclose(ops.convert_to_numpy(tokens)[i], expected[0], atol=1e-5)
            np.testing.assert_array_equal(ops.convert_to_numpy(merged)[i], expected[1])

    @pytest.mark.parametrize("prefix", [0, 1, 2, 5])
    def test_the_prefix_stays_and_nothing_is_lost(self, prefix):
        x = normal(2, 30 + prefix, 8)
        tokens, sizes = (ops.convert_to_numpy(y) for y in merge_tokens(x, x, count=13, prefix=prefix))
        np.testing.assert_array_equal(tokens[:, :prefix], x[:, :prefix])
        np.testing.assert_array_equal(sizes[:, :prefix], 1)
        np.testing.assert_allclose((tokens * sizes).sum(1), x.sum(1), atol=1e-4)
        np.testing.assert_array_equal(sizes.sum((1, 2)), 30 + prefix)

    def test_equal_tokens_are_a_tie_and_no_trouble(self):
        tokens, sizes = merge_tokens(np.ones((2, 9, 4), "float32"), np.zeros((2, 9, 4), "float32"), count=3)
        np.testing.assert_array_equal(tokens, np.ones((2, 6, 4)))
        np.testing.assert_array_equal(ops.convert_to_numpy(sizes).sum((1, 2)), 9)

    def test_many_tokens_pass_float16(self):
        x = ops.cast(np.full((1, 401, 4), 600.0), "float16")
        sizes = ops.cast(np.full((1, 401, 1), 100.0), "float16")
        tokens, total = merge_tokens(x, x, sizes, count=200)
        assert (
            keras.backend.standardize_dtype(tokens.dtype) == keras.backend.standardize_dtype(total.dtype) == "float16"
        )
        np.testing.assert_array_equal(ops.convert_to_numpy(tokens), 600)

    @pytest.mark.parametrize("count", [0, 13])
    def test_too_many(self, count):
        with pytest.raises(ValueError, match="1 to 12 can be merged"):
            merge_tokens(normal(1, 25, 4), normal(1, 25, 4), count=count)

    def test_mean_key(self):
        keys = normal(2, 5, 12)
        np.testing.assert_allclose(mean_key(keys, 3), (keys[..., :4] + keys[..., 4:8] + keys[..., 8:]) / 3, atol=1e-6)


class TestModel:
    def test_equals_the_paper(self, randomize):
        model = keras_vit.build("vit_mu16", token_merging=[5, 0, 4, 3], **SMALL)
        randomize(model)
        stem = keras.Model(model.input, model.get_layer("position_embedding").output)
        blocks = []
        for index in range(4):
            layer = model.get_layer(f"block_{index}")
            blocks.append({v.path.split(f"block_{index}/")[1]: v for v in layer.weights})
        tokens, sizes = keras.Model(model.input, model.get_layer("block_3").output)(pixels())
        for i, image in enumerate(ops.convert_to_numpy(stem(pixels()))):
            expected = transformer(image.astype("float64"), blocks, [5, 0, 4, 3])
            np.testing.assert_array_equal(sizes[i], expected[1])
            np.testing.assert_allclose(tokens[i], expected[0], rtol=1e-3, atol=1e-3 * np.abs(expected[0]).max())

    @pytest.mark.parametrize("pooling", ["token", "avg", "map"])
    def test_of_equal_patches_nothing_is_lost(self, pooling, randomize):
        """Without positions two equal patches and one that counts twice are the same to all that follows."""
        options = {"pooling": pooling, **SMALL}
        plain = keras_vit.build("vit_mu16", **options)
        randomize(plain)
        table = plain.get_layer("position_embedding").embedding
        table.assign(np.zeros(table.shape))
        merging = keras_vit.build("vit_mu16", token_merging={0: 12, 2: 6}, **options)
        merging.set_weights(plain.get_weights())
        # Every patch is seen four times in a row.
        patches = (
            np.random.default_rng(0).integers(0, 256, (2, 6, 16, 16, 3)).repeat(4, axis=1).reshape(2, 4, 6, 16, 16, 3)
        )
        image = patches.transpose(0, 1, 3, 2, 4, 5).reshape(2, 64, 96, 3).astype("uint8")
        np.testing.assert_allclose(merging(image), plain(image), rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("family", swept(FAMILIES))
    def test_every_family_keeps_its_weights_saves_and_reloads(self, family, tmp_path):
        plain = keras_vit.build(f"{family}_mu16", **SMALL | {"depth": 2})
        model = keras_vit.build(f"{family}_mu16", token_merging=[5, 6], **SMALL | {"depth": 2})
        for ours, theirs in zip(model.weights, plain.weights, strict=True):
            assert ours.path.split("/", 1)[-1] == theirs.path.split("/", 1)[-1]
            np.testing.assert_array_equal(ours, theirs)
        expected = ops.convert_to_numpy(model(pixels()))
        assert np.isfinite(expected).all()
        model.save(tmp_path / "model.keras")
        np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(pixels()), expected)
        unmerged = keras_vit.build(f"{family}_mu16", weights=tmp_path / "model.keras", **SMALL | {"depth": 2})
        np.testing.assert_array_equal(unmerged(pixels()), plain(pixels()))

    def test_off_is_as_it_was(self):
        model = keras_vit.build("vit_mu16", token_merging=0, **SMALL)
        assert [len(layer.output) for layer in model.layers if isinstance(layer.output, (list, tuple))] == []
        plain = keras_vit.build("vit_mu16", **SMALL)
        assert model.get_config() == plain.get_config() | {"name": model.name}

    @pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
    def test_precision(self, dtype):
        model = keras_vit.build("eva02_mu16", token_merging=4, dtype=dtype, **SMALL)
        assert keras.backend.standardize_dtype(model.get_layer("block_0").output[1].dtype) == model.compute_dtype
        logits = ops.convert_to_numpy(model(pixels()))
        assert logits.dtype == "float32"
        assert np.isfinite(logits).all()

    @pytest.mark.parametrize("family", ["vit", "beit", "dinov3"])
    def test_compiled_equals_eager(self, family):
        model = keras_vit.build(f"{family}_mu16", token_merging=[5], **SMALL | {"depth": 1})
        eager = ops.convert_to_numpy(model(pixels()))
        model.compile(jit_compile=True)
        np.testing.assert_allclose(model.predict(pixels(), verbose=0), eager, atol=1e-5)

    def test_it_learns(self):
        model = keras_vit.build("eva02_mu16", token_merging=[5, 6], **SMALL | {"depth": 2})
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(3e-3), loss, jit_compile=False)
        before = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
        losses = model.fit(pixels(4), np.arange(4), epochs=8, verbose=0).history["loss"]
        assert losses[-1] < 0.7 * losses[0]
        for weight, old in zip(model.trainable_weights, before, strict=True):
            assert np.abs(ops.convert_to_numpy(weight) - old).max() > 0, weight.path


class TestPositions:
    """Of merged tokens scores are the mean over all pairs of their patches."""

    def attention(self, **options):
        layer = SelfAttention(2, **GRID, **options)
        layer.build((None, 25, 16))
        if layer.bias:
            layer.bias.table.assign(normal(*layer.bias.table.shape))
        return layer

    @pytest.mark.parametrize("options", [{"rotary": "eva02"}, {"rotary": "dinov3"}, {"relative_bias": True}])
    def test_own_positions_are_those_of_no_merging(self, options):
        layer, tokens = self.attention(**options), normal(2, 25, 16)
        own = np.broadcast_to(np.eye(25, dtype="float32"), (2, 25, 25))
        np.testing.assert_allclose(layer(tokens, origins=own), layer(tokens), atol=1e-5)

    def test_mean_of_biases(self):
        layer = self.attention(relative_bias=True)
        shares = np.zeros((1, 2, 25), "float32")
        shares[0, 0, [3, 4]] = 0.5
        shares[0, 1, [7, 9, 11, 12]] = 0.25
        full = ops.convert_to_numpy(layer.bias(normal(1, 25, 16)))
        _, bias = layer._positions(normal(1, 2, 16), shares)
        expected = full[:, :, [3, 4]][..., [7, 9, 11, 12]].mean((2, 3))
        np.testing.assert_allclose(ops.convert_to_numpy(bias)[:, :, 0, 1], expected, atol=1e-6)

    def test_origins_are_shares_and_sizes(self):
        block = EncoderBlock(2, 32, rotary="eva02", merged=7, **GRID)
        tokens, sizes, origins = block(normal(2, 25, 16))
        tokens, sizes, origins = block.__class__(2, 32, rotary="eva02", merged=5, **GRID)(tokens, sizes, origins)
        assert (tokens.shape, sizes.shape, origins.shape) == ((2, 13, 16), (2, 13, 1), (2, 13, 25))
        counts = np.round(ops.convert_to_numpy(origins * sizes), 4)
        assert set(np.unique(counts)) == {0, 1}
        np.testing.assert_array_equal(counts.sum(1), 1)
        np.testing.assert_array_equal(counts.sum(2, keepdims=True), sizes)


class TestSchedule:
    def test_forms(self):
        assert merging_schedule(None, 3, 24) == merging_schedule(0, 3, 24) == merging_schedule([0, 0, 0], 3, 24) == ()
        assert merging_schedule(8, 3, 24) == (8, 8, 4)
        assert merging_schedule({1: 12}, 3, 24) == (0, 12, 0)
        assert merging_schedule((3, 2, 1), 3, 24) == (3, 2, 1)

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            ([1, 2], "a list of 4 such numbers"),
            (-1, "a list of 4 such numbers"),
            (2.5, "not 2.5"),
            ("half", "not 'half'"),
            ([1, 2, 3, "4"], "a list of 4 such numbers"),
            ({4: 3}, "names block 4: there are blocks 0 to 3"),
            ({"3": 3}, "names block '3'"),
            ({0: 12, 1: 7}, "7 tokens in block 1, which has 12 patches: at most half of them, 6,"),
        ],
    )
    def test_mistakes(self, given, sentence):
        with pytest.raises(InputError, match=sentence):
            keras_vit.build("vit_mu16", token_merging=given, **SMALL)

    @pytest.mark.parametrize("given", [8, [4, 4], {3: 40, 6: 40}, None])
    def test_recipe(self, given):
        recipe = Recipe.from_dict({"model": {"token_merging": given}})
        assert Recipe.from_dict(recipe.to_dict()).model.token_merging == given


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="LiteRT's converter reads TensorFlow's graphs")
def test_litert_needs_no_operator_of_tensorflow():
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    import tensorflow as tf

    inputs = [normal(1, 26, 8), normal(1, 26, 6), np.full((1, 26, 1), 2, "float32")]
    module = tf.Module()
    module.merge = tf.function(
        lambda tokens, metric, sizes: merge_tokens(tokens, metric, sizes, count=7),
        input_signature=[tf.TensorSpec(x.shape, name=n) for x, n in zip(inputs, "tms", strict=True)],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.merge.get_concrete_function()], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    runner = interpreter.Interpreter(model_content=converter.convert()).get_signature_runner()
    found = runner(**dict(zip("tms", inputs, strict=True)))
    tokens, sizes = merge_tokens(*inputs, count=7)
    for output in found.values():
        np.testing.assert_allclose(output, tokens if output.shape[-1] == 8 else sizes, atol=1e-6)

"""Each method against its paper, written once more by hand, and against what is known of an image."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vit
from keras_vit.explain import METHODS, saliency
from keras_vit.explain.asked import answers, mean_colour, questions
from keras_vit.explain.gradients import attributions

SMALL = {"num_classes": 3, "image_size": (32, 48), "depth": 3, "seed": 0}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2, 32, 48, 3), "uint8")


def built(randomize, **settings) -> keras.Model:
    model = keras_vit.build("vit_mu16", **{**SMALL, **settings})
    randomize(model)
    return model


def by_hand(model: keras.Model, images: np.ndarray):
    """A plain ViT with a class token from its weights alone: logits, scores of every block, the tape, tokens before the
    last block."""
    weights = {w.path: tf.constant(w) for w in model.weights}
    record = keras_vit.preprocessing_of(model)
    x = (tf.cast(images, tf.float32) / 255 - tf.constant(record.mean, tf.float32)) / tf.constant(record.std, tf.float32)
    width, seen = 32, []

    def norm(x, name):
        mean, variance = tf.nn.moments(x, -1, keepdims=True)
        return (x - mean) / tf.sqrt(variance + 1e-6) * weights[f"{name}/gamma"] + weights[f"{name}/beta"]

    def dense(x, name):
        return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]

    with tf.GradientTape(persistent=True) as tape:
        x = tf.nn.conv2d(x, weights["patch_embedding/projection/kernel"], 16, "VALID")
        x = tf.reshape(x + weights["patch_embedding/projection/bias"], (len(images), -1, width))
        x = tf.concat([tf.repeat(weights["class_token/tokens"], len(images), 0), x], 1)
        x = x + weights["position_embedding/embedding"]
        for index in range(3):
            tape.watch(x)
            entering, name = x, f"block_{index}"
            parts = tf.split(dense(norm(x, f"{name}/norm1"), f"{name}/attention/qkv"), 3, axis=-1)
            query, key, value = (tf.transpose(tf.reshape(p, (len(images), -1, 2, 16)), (0, 2, 1, 3)) for p in parts)
            scores = tf.nn.softmax(query @ tf.transpose(key, (0, 1, 3, 2)) / 4)
            tape.watch(scores)
            seen.append(scores)
            mixed = tf.reshape(tf.transpose(scores @ value, (0, 2, 1, 3)), (len(images), -1, width))
            x = x + dense(mixed, f"{name}/attention/projection")
            hidden = tf.nn.gelu(dense(norm(x, f"{name}/norm2"), f"{name}/mlp/expand"))
            x = x + dense(hidden, f"{name}/mlp/contract")
        logits = dense(norm(x, "norm")[:, 0], "head")
        chosen = logits[:, 1]
    return logits, seen, tape, chosen, entering


class TestByHand:
    """All three on a model with a class token, for class 1."""

    @pytest.fixture(scope="class")
    def both(self, randomize, images):
        model = built(randomize)
        logits, *rest = by_hand(model, images)
        np.testing.assert_allclose(model(images), logits, rtol=1e-4, atol=1e-4)
        return model, *rest

    def test_relevance(self, both, images):
        model, seen, tape, chosen, _ = both
        wanted = np.eye(7)[None].repeat(2, 0)
        for scores in seen:
            moved = np.maximum(tape.gradient(chosen, scores) * scores, 0).mean(1)
            wanted = wanted + moved @ wanted
        row = wanted[:, 0, 1:].reshape(2, 2, 3)
        found = saliency(model, images, "relevance", aim=1)
        np.testing.assert_allclose(scaled(found), scaled(row), atol=2e-4)

    def test_rollout(self, both, images):
        model, seen, *_ = both
        wanted = np.eye(7)[None]
        for scores in seen:
            mixed = 0.5 * np.asarray(scores).mean(1) + 0.5 * np.eye(7)
            wanted = mixed / mixed.sum(-1, keepdims=True) @ wanted
        np.testing.assert_allclose(saliency(model, images, "rollout").reshape(2, 6), wanted[:, 0, 1:], atol=1e-5)

    def test_attention(self, both, images):
        model, seen, *_ = both
        wanted = np.asarray(seen[-1]).mean(1)[:, 0, 1:]
        np.testing.assert_allclose(saliency(model, images, "attention").reshape(2, 6), wanted, atol=1e-5)

    def test_gradcam(self, both, images):
        model, _, tape, chosen, entering = both
        weights = np.asarray(tape.gradient(chosen, entering))[:, 1:].mean(1)
        wanted = np.maximum(np.einsum("bnd,bd->bn", np.asarray(entering)[:, 1:], weights), 0)
        found = saliency(model, images, "gradcam", aim=1)
        np.testing.assert_allclose(scaled(found), scaled(wanted.reshape(2, 2, 3)), atol=2e-4)


def scaled(maps: np.ndarray) -> np.ndarray:
    return maps / maps.max((1, 2), keepdims=True)


def test_relevance_of_an_average_is_that_of_every_patchs_vote(randomize, images):
    """Patches that vote for the class more than most are read in proportion, what they gathered and themselves."""
    model = built(randomize, pooling="avg", depth=1)
    block, kernel = model.get_layer("block_0"), np.asarray(model.get_layer("head").kernel)
    with tf.GradientTape() as tape:
        shares = []

        def observe(found):
            tape.watch(found)
            shares.append(found)
            return found

        tokens = block(keras.Model(model.input, block.input)(images), observe=observe)
        normalised = model.get_layer("norm")(tokens)
        chosen = model.get_layer("head")(tf.reduce_mean(normalised[:, 1:], 1))[:, 2]
    moved = np.maximum(tape.gradient(chosen, shares[0]) * shares[0], 0).mean(1)
    votes = np.asarray(normalised) @ kernel[:, 2]
    votes = np.maximum(votes - votes[:, 1:].mean(-1, keepdims=True), 0)
    votes[:, 0] = 0
    gathered = moved / np.maximum(moved.sum(-1, keepdims=True), 1e-30) + np.eye(7)
    wanted = np.einsum("bn,bnm->bm", votes / votes.sum(-1, keepdims=True), gathered)[:, 1:].reshape(2, 2, 3)
    np.testing.assert_allclose(saliency(model, images, aim=2), wanted, atol=1e-4)


def test_integrated_gradients_are_complete(randomize, images):
    model = built(randomize, depth=1)
    (asked,) = questions(model, images, aim=[0, 2])
    start = np.broadcast_to(mean_colour(model), images.shape)
    differ = (answers(model, images.astype("float32")) - answers(model, start))[[0, 1], [0, 2]]
    found = attributions(asked, steps=32)
    assert found.shape == images.shape
    assert (np.abs(differ) > 0.1).all()
    np.testing.assert_allclose(found.sum((1, 2, 3)), differ, rtol=0.03)
    wanted = np.abs(found.sum(-1)).astype("float32")
    np.testing.assert_array_equal(saliency(model, images, "integrated", aim=[0, 2], steps=32), wanted)


def test_occlusion_square_by_square(randomize, images):
    model = built(randomize)
    colour = 255 * np.array(keras_vit.preprocessing_of(model).mean)
    lost, covered = np.zeros((2, 3)), np.zeros((2, 3))
    whole = float(model(images[:1])[0, 1])
    for column in (0, 1):
        masked = images[:1].astype("float32")
        masked[:, :, column * 16 : column * 16 + 32] = colour
        lost[:, column : column + 2] += max(whole - float(model(masked)[0, 1]), 0)
        covered[:, column : column + 2] += 1
    found = saliency(model, images[:1], "occlusion", aim=1, size=2)
    np.testing.assert_allclose(found[0], lost / covered, atol=1e-4)
    far = saliency(model, images[:1], "occlusion", aim=1, size=2, stride=5)
    np.testing.assert_array_equal(far, found)
    covering = saliency(model, images[:1], "occlusion", aim=1, size=9)
    assert np.ptp(covering) == 0


@pytest.mark.parametrize("pooling", ["token", "avg", "map"])
def test_of_equal_patches_merging_changes_no_map(pooling, randomize):
    options = {"image_size": (64, 96), "pooling": pooling}
    plain, merging = built(randomize, **options), built(randomize, token_merging={0: 12, 1: 6}, **options)
    plain.get_layer("position_embedding").embedding.assign(np.zeros((25, 32)))
    merging.set_weights(plain.get_weights())
    # Every patch is there four times in a row.
    patches = np.random.default_rng(0).integers(0, 256, (2, 6, 16, 16, 3)).repeat(4, axis=1)
    images = patches.reshape(2, 4, 6, 16, 16, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 64, 96, 3).astype("uint8")
    for method in ("attention", "rollout", "relevance", "gradcam"):
        wanted, found = (saliency(model, images, method, aim=1) for model in (plain, merging))
        np.testing.assert_allclose(found, wanted, rtol=1e-2, atol=1e-3 * wanted.max())


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["token", "avg", "map"])
@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.aimed])
def test_what_tells_is_what_is_shown(method, pooling, spotted):
    """Nothing but one patch tells the classes apart: on average it gets more than twice its share, one in twelve."""
    if (method, pooling != "token") == ("gradcam", True):
        pytest.skip("before the last block a pooled patch may say anything: Grad-CAM has nothing to hold on to")
    spots = spotted(pooling)
    assert (answers(spots.model, spots.images).argmax(-1) == spots.labels).all()
    options = {"occlusion": {"size": 1}, "integrated": {"steps": 4}}.get(method, {})
    images, places = spots.images[:12], spots.places[:12]
    maps = saliency(spots.model, images, method, aim=spots.labels[:12].tolist(), **options)
    if method == "integrated":
        maps = maps.reshape(12, 3, 4, 4, 4).sum((2, 4))
    share = (maps * places).sum((1, 2)) / maps.sum((1, 2))
    assert share.mean() > (0.9 if options else 2 / 12), share


def test_a_segmentation_class_is_seen_where_it_is(randomize):
    """Of one pixel's logit after a linear head, that pixel's patch says most."""
    from keras_vit.tasks.explaining import Aim

    model = built(randomize, task="segmentation", image_size=(48, 64))
    images = np.random.default_rng(1).integers(0, 256, (2, 48, 64, 3), "uint8")
    weights = np.zeros((2, 48, 64, 3), "float32")
    weights[0, 8, 8, 1] = weights[1, 40, 56, 2] = 1
    maps = saliency(model, images, aim=Aim(weights, ["", ""]))
    assert [np.unravel_index(heat.argmax(), heat.shape) for heat in maps] == [(0, 0), (2, 3)]

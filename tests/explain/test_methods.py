"""Every method of `saliency` on every kind of model, and what wrong questions are told."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_vit
from keras_vit.errors import Failure, InputError
from keras_vit.explain import METHODS, saliency
from keras_vit.tasks import make_task
from keras_vit.tasks.explaining import Aim

SMALL = {"num_classes": 3, "image_size": (32, 48), "depth": 2, "seed": 0}
NAMES = ("ant", "bee", "cow")
OPTIONS = {"integrated": {"steps": 2}, "occlusion": {"size": 1}}
DENSE = {"image_size": (40, 50), "head_options": {"width": 16}}
KINDS = {
    "class token": {},
    "average": {"pooling": "avg"},
    "attention pooling": {"pooling": "map"},
    "no class token": {"class_token": False, "pooling": "avg"},
    "registers": {"registers": 2},
    "distilled": {"name": "deit_distilled_mu16"},
    "norm after pooling": {"name": "beit_mu16"},
    "windows": {"image_size": (80, 112), "window": (2, 3), "depth": 5},
    "merged": {"image_size": (64, 96), "token_merging": {0: 12, 1: 3}, "depth": 3},
    "merged, attention pooling": {"image_size": (64, 96), "token_merging": {0: 12, 1: 3}, "depth": 3, "pooling": "map"},
    "merged, rotary": {"name": "eva02_mu16", "image_size": (64, 96), "token_merging": {0: 12}},
    "one block": {"depth": 1},
    "features": {"num_classes": 0},
    "linear": {"task": "segmentation", "head": "linear", "image_size": (40, 50)},
    "dpt": {"task": "segmentation", "head": "dpt", "depth": 4, **DENSE},
    "mask": {"task": "segmentation", "head": "mask", "image_size": (40, 50)},
    "boxes": {"task": "detection", **DENSE, "head_options": {"width": 16, "depth": 1}},
    "float16": {"dtype": "mixed_float16"},
    "bfloat16": {"dtype": "mixed_bfloat16", "pooling": "map"},
    "boxes, float16": {
        "task": "detection",
        **DENSE,
        "head_options": {"width": 16, "depth": 1},
        "dtype": "mixed_float16",
    },
    "dpt, float16": {"task": "segmentation", "head": "dpt", "depth": 4, **DENSE, "dtype": "mixed_float16"},
}
RARE = {"distilled", "features", "mask", "merged", "merged, rotary", "no class token", "norm after pooling"}
RARE |= {"bfloat16", "boxes, float16", "dpt, float16", "one block", "registers"}
"""Kinds that only the long tests go through."""
LONG = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("average", "linear", "boxes")]


@pytest.fixture(scope="module")
def made(randomize):
    """Kind -> model, its task or None, and images; each made once."""
    found = {}

    def make(kind: str):
        if kind not in found:
            settings = {"name": "vit_mu16", **SMALL, **KINDS[kind]}
            task = settings.get("task")
            model = keras_vit.build(**settings)
            randomize(model)
            images = np.random.default_rng(1).integers(0, 256, (2, *settings["image_size"], 3), "uint8")
            found[kind] = model, task and make_task(task, NAMES), images
        return found[kind]

    return make


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind in RARE)) for kind in KINDS])
def test_every_method_explains_every_kind_of_model(kind, method, made):
    model, task, images = made(kind)
    maps = saliency(model, images, method, task=task, **OPTIONS.get(method, {}))
    patches = tuple(-(-side // 16) for side in images.shape[1:3])
    assert maps.shape == (2, *(images.shape[1:3] if method == "integrated" else patches))
    assert maps.dtype == "float32"
    assert np.isfinite(maps).all()
    assert (maps >= 0).all()
    if METHODS[method].aimed and kind != "one block":
        # What patches say for the answer can be nothing; that it is nothing in both images would be a mistake.
        assert maps.max() > 0
    assert maps.max() > 0 or (kind, method) == ("one block", "gradcam")


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.aimed])
@pytest.mark.parametrize("kind", ["class token", *LONG])
def test_aims(kind, method, made):
    """By number, by name, one an image and as an `Aim` they mean the same; another one is another map."""
    model, task, images = made(kind)
    task = task or make_task("classification", NAMES)
    by_name = "ant" if kind != "boxes" else int(np.flatnonzero(ranks(model, task, images[:1]) == 0)[0])

    def ask(aim, images=images[:1]):
        return saliency(model, images, method, aim=aim, task=task, **OPTIONS.get(method, {}))

    wanted = ask(by_name)
    outputs = np.asarray(model(images[:1]))
    for same in ([by_name], str(by_name), task.aim(outputs, by_name), *(["ant"] if kind == "boxes" else [0])):
        np.testing.assert_array_equal(ask(same), wanted)
    other = ask("bee")
    assert np.abs(other - wanted).max() > 1e-2 * max(other.max(), wanted.max()) > 0
    both = ask([by_name, "bee"], images[[0, 0]])
    for found, alone in zip(both, (wanted[0], other[0]), strict=True):
        np.testing.assert_allclose(found, alone, rtol=1e-3, atol=1e-4 * alone.max())


def ranks(model, task, images) -> np.ndarray:
    """Classes of the boxes in the first image, the surest first."""
    from keras_vit.tasks.detection.suppression import detect

    return detect(np.asarray(model(images)), **task._thresholds())[0].classes


def test_more_images_than_are_explained_together(made):
    model, *_ = made("class token")
    many = np.random.default_rng(2).integers(0, 256, (17, 32, 48, 3), "uint8")
    aim = Aim(np.eye(3, dtype="float32")[np.arange(17) % 3], [""] * 17)
    whole = saliency(model, many, aim=aim)
    np.testing.assert_allclose(whole[16], saliency(model, many[16:], aim=1)[0], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(saliency(model, many, aim=list(np.arange(17) % 3)), whole, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_explains_as_float32_does(dtype, randomize):
    """Even what float16 could not hold: gradients are scaled on their way."""
    options = {"task": "segmentation", "num_classes": 3, "image_size": (40, 50), "depth": 2, "seed": 0}
    images = np.random.default_rng(1).integers(0, 256, (2, 40, 50, 3), "uint8")
    whole, half = keras_vit.build("vit_mu16", **options), keras_vit.build("vit_mu16", dtype=dtype, **options)
    aim = make_task("segmentation", NAMES).aim(np.asarray(whole(images)), 1)
    faint = Aim(aim.weights * np.float32(1e-5), aim.names)
    for model in (whole, half):
        randomize(model)
    for method in ("relevance", "gradcam", "integrated"):
        wanted, *found = (
            saliency(model, images, method, aim=asked, **OPTIONS.get(method, {}))
            for model, asked in ((whole, aim), (half, aim), (half, faint))
        )
        for each in found:
            assert np.corrcoef(each.reshape(-1), wanted.reshape(-1))[0, 1] > 0.995, method


def test_the_model_is_left_alone(randomize):
    model = keras_vit.build("vit_mu16", **SMALL)
    randomize(model)
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 48, 3), "uint8")
    model.compile("sgd", "mse")
    before, config, weights = model.predict(images, verbose=0), model.get_config(), model.get_weights()
    function = model.predict_function
    traces = function.experimental_get_tracing_count()
    for method in METHODS:
        saliency(model, images, method, **OPTIONS.get(method, {}))
    np.testing.assert_array_equal(model.predict(images, verbose=0), before)
    assert model.predict_function is function
    assert function.experimental_get_tracing_count() == traces
    assert model.get_config() == config
    assert all((one == two).all() for one, two in zip(model.get_weights(), weights, strict=True))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"method": "grad-cam"}, "There is no method 'grad-cam': did you mean 'gradcam'"),
        ({"method": "occlusion", "sise": 2}, "The method occlusion has no option 'sise': did you mean 'size'"),
        ({"steps": 2}, "The method relevance has no option 'steps': accepted are: none"),
        ({"method": "integrated", "steps": 0}, "steps is a whole number above 0, not 0"),
        ({"method": "occlusion", "size": 1.5}, "size is a whole number above 0, not 1.5"),
        ({"aim": "ant"}, "There is no class 'ant': accepted are: 0, 1, 2"),
        ({"aim": 3}, "There is no class 3: there are classes 0 to 2"),
        ({"aim": [0]}, "There are 1 aims for 2 images"),
        ({"aim": Aim(np.ones((1, 3), "float32"), [""])}, r"The aim's weights have the shape \(1, 3\)"),
        ({"images": np.zeros((2, 32, 32, 3))}, r"images have the shape \(B, 32, 48, 3\)"),
        ({"model": keras.Sequential([keras.Input((4,))])}, r"made by keras_vit\.build"),
        ({"model": None}, r"made by keras_vit\.build"),
    ],
)
def test_wrong_questions_get_one_sentence(arguments, sentence, made):
    model, _, images = made("class token")
    with pytest.raises(InputError, match=sentence) as caught:
        saliency(**{"model": model, "images": images, **arguments})
    assert "\n" not in str(caught.value)


def test_boxes_need_their_task(made):
    model, task, images = made("boxes")
    with pytest.raises(InputError, match="are boxes, not class logits: give the task of its run"):
        saliency(model, images)
    with pytest.raises(InputError, match="Nothing like 500 was detected"):
        saliency(model, images, aim=500, task=task)


def test_a_broken_model_is_told(made):
    model = keras_vit.build("vit_mu16", **SMALL)
    model.get_layer("head").kernel.assign(np.full((32, 3), np.nan))
    with pytest.raises(Failure, match="gradients of 'vit_mu16' are not finite"):
        saliency(model, made("class token")[2], aim=0)


def test_pixels_that_come_normalised(randomize):
    """Their mean colour is zero."""
    plain, bare = keras_vit.build("vit_mu16", **SMALL), keras_vit.build("vit_mu16", normalize=False, **SMALL)
    randomize(plain)
    bare.set_weights(plain.get_weights())
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 48, 3), "uint8")
    normalised = plain.get_layer("normalize")(images.astype("float32"))
    for method in METHODS:
        one, two = (
            saliency(model, given, method, **OPTIONS.get(method, {}))
            for model, given in ((plain, images), (bare, normalised))
        )
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5 * one.max())

"""The judges of maps: insertion, deletion, and what random weights leave of a map."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.special import softmax

import keras_vit
from keras_vit.errors import InputError
from keras_vit.explain import METHODS, centre_map, faithfulness, randomised, saliency, sanity
from keras_vit.explain.sanity import alike

SMALL = {"num_classes": 3, "image_size": (32, 48), "depth": 2, "seed": 0}


@pytest.fixture(scope="module")
def model(randomize) -> keras.Model:
    model = keras_vit.build("vit_mu16", **SMALL)
    randomize(model)
    return model


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2, 32, 48, 3), "uint8")


def test_curves_by_hand(model, images):
    heat = np.array([[[3, 1, 2], [9, 8, 7]]] * 2, "float32")
    found = faithfulness(model, images, heat, steps=3)
    assert found.insertion.shape == found.deletion.shape == (2, 4)
    colour = 255 * np.array(keras_vit.preprocessing_of(model).mean)
    steps = [[], [(1, 0), (1, 1)], [(1, 0), (1, 1), (1, 2), (0, 0)], list(np.ndindex(2, 3))]
    own = np.asarray(model(images)).argmax(-1)
    for step, gone in enumerate(steps):
        pixels = images.astype("float32")
        for row, column in gone:
            pixels[:, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = colour
        wanted = softmax(np.asarray(model(pixels)), -1)[[0, 1], own]
        np.testing.assert_allclose(found.deletion[:, step], wanted, atol=1e-5)
    np.testing.assert_allclose(found.insertion[:, 3], found.deletion[:, 0], atol=1e-6)
    one, two, three, four = found.insertion[0]
    assert found.insertion_score[0] == pytest.approx((one / 2 + two + three + four / 2) / 3)
    # A map of another resolution with the same order, and images that are judged by something compiled.
    pixelwise = heat.repeat(16, 1).repeat(16, 2)
    again = faithfulness(model, images, pixelwise, steps=3, outputs_of=lambda pixels: np.asarray(model(pixels)))
    np.testing.assert_allclose(again.insertion, found.insertion, atol=1e-5)


def test_maps_that_say_nothing_are_taken_in_a_seeded_order(model, images):
    flat = np.zeros((2, 2, 3))
    one, two, three = (faithfulness(model, images, flat, steps=6, seed=seed).deletion for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - three).max() > 1e-4


@pytest.mark.slow
def test_the_patch_that_tells_is_found_first(spotted):
    """A map of what the model goes by beats its reverse and the centre. A weak blur would leave the colour."""
    spots = spotted()
    images, truth = spots.images[:12], spots.places[:12]
    centre = np.broadcast_to(centre_map((3, 4)), truth.shape)
    right, wrong, middle = (
        faithfulness(spots.model, images, each, steps=12, blur=50) for each in (truth, -truth, centre)
    )
    for other in (wrong, middle):
        assert right.insertion_score.mean() > other.insertion_score.mean() + 0.05
        assert right.deletion_score.mean() < other.deletion_score.mean() - 0.05


def test_the_centre():
    heat = centre_map((3, 5))
    assert np.unravel_index(heat.argmax(), heat.shape) == (1, 2)
    np.testing.assert_array_equal(heat, heat[::-1, ::-1])
    assert centre_map((1, 4)).shape == (1, 4)


def test_random_weights_are_the_same_numbers_elsewhere(model, images):
    before = model.get_weights()
    copy = randomised(model)
    assert copy is not model
    assert not {id(weight) for weight in copy.weights} & {id(weight) for weight in model.weights}
    for one, old, new in zip(model.get_weights(), before, copy.get_weights(), strict=True):
        np.testing.assert_array_equal(one, old)
        np.testing.assert_array_equal(np.sort(new, None), np.sort(old, None))
    assert np.abs(np.asarray(copy(images)) - np.asarray(model(images))).max() > 0.1
    assert all((a == b).all() for a, b in zip(randomised(model).get_weights(), copy.get_weights(), strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_no_map_of_a_trained_run_survives_random_weights(method, run, blobs):
    with np.load(blobs) as arrays:
        images = arrays["x_test"][:12]
    found = sanity(run.model, images, method, task=run.task, **({"steps": 4} if method == "integrated" else {}))
    assert found.shape == (12,)
    assert np.abs(found).max() <= 1
    assert abs(found.mean()) < 0.5, found.mean()


def test_the_same_is_asked_of_the_random_model(model, images):
    maps = [saliency(each, images, "occlusion", aim=2, size=1) for each in (model, randomised(model, 3))]
    wanted = [alike(one, other) for one, other in zip(*maps, strict=True)]
    np.testing.assert_allclose(sanity(model, images, "occlusion", aim=2, seed=3, size=1), wanted)
    assert alike(maps[0][0], maps[0][0]) == pytest.approx(1)
    assert alike(maps[0][0], np.ones((2, 3))) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"steps": 0}, "steps is a whole number above 0"),
        ({"maps": np.ones((2, 3))}, r"Give one map \(h, w\) an image, 2 of them, not an array \(2, 3\)"),
        ({"maps": np.ones((1, 2, 3))}, r"Give one map \(h, w\) an image"),
        ({"images": np.ones((2, 48, 32, 3))}, "images have the shape"),
    ],
)
def test_wrong_arguments_get_one_sentence(arguments, sentence, model, images):
    with pytest.raises(InputError, match=sentence):
        faithfulness(**{"model": model, "images": images, "maps": np.ones((2, 2, 3)), **arguments})


def test_only_classifiers_are_judged(images):
    model = keras_vit.build("vit_mu16", task="segmentation", **SMALL)
    with pytest.raises(InputError, match="are scores of classifiers"):
        faithfulness(model, images, np.ones((2, 2, 3)))

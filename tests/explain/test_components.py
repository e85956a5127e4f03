"""Principal components of features as colours: one basis for all images, the same colours every time."""

from __future__ import annotations

import numpy as np
import pytest

import keras_vit
from keras_vit.errors import InputError
from keras_vit.explain.components import components


@pytest.fixture(scope="module")
def model(randomize):
    made = keras_vit.build("vit_mu4", num_classes=3, image_size=(16, 24), depth=2)
    randomize(made)
    return made


@pytest.fixture(scope="module")
def images():
    """Dark on the left, bright on the right, with some noise; the last is the mirror image of the first."""
    pixels = np.random.default_rng(0).integers(0, 40, (3, 16, 24, 3))
    pixels[:, :, 12:] += 200
    pixels[2] = pixels[0, :, ::-1]
    return pixels.astype("uint8")


def test_what_is_alike_has_one_colour_in_all_images(model, images):
    colours = components(model, images)
    assert colours.shape == (3, 4, 6, 3)
    assert colours.dtype == np.uint8
    # The first component tells dark patches from bright ones, by the same colour in the mirror image.
    left, right = colours[:2, :, :3, 0].astype(int), colours[:2, :, 3:, 0].astype(int)
    assert left.max() < right.min() or right.max() < left.min()
    assert abs(int(colours[2, :, 3:, 0].mean()) - left.mean()) < abs(int(colours[2, :, 3:, 0].mean()) - right.mean())
    assert colours.reshape(-1, 3).min(axis=0).max() == 0
    assert colours.reshape(-1, 3).max(axis=0).min() == 255


def test_colours_repeat_and_keep_their_sign(model, images):
    colours = components(model, images)
    np.testing.assert_array_equal(colours, components(model, images))
    # In another order of the images it is the same basis.
    turned = components(model, images[::-1])[::-1]
    assert np.abs(colours.astype(int) - turned).max() <= 1


def test_they_are_the_directions_of_most_variance(model, images):
    maps = np.asarray(keras_vit.features(model, [0], norm=True)(images)).reshape(-1, 32).astype("float64")
    centred = maps - maps.mean(0)
    wanted = np.linalg.svd(centred, full_matrices=False)[0][:, :3]
    got = components(model, images, layer=0).reshape(-1, 3)
    for axis in range(3):
        assert abs(np.corrcoef(got[:, axis], wanted[:, axis])[0, 1]) > 0.98


def test_one_flat_image_is_grey(model):
    made = keras_vit.build("vit_mu4", num_classes=3, image_size=(4, 4), depth=1)
    assert (components(made, np.zeros((1, 4, 4, 3), "uint8")) == 128).all()


def test_wrong_input(model, images):
    with pytest.raises(InputError, match="There is no block 2"):
        components(model, images, layer=2)
    with pytest.raises(InputError, match="number of one block"):
        components(model, images, layer=[0, 1])
    with pytest.raises(InputError, match=r"\(B, 16, 24, 3\)"):
        components(model, images[:, :8])
    with pytest.raises(InputError, match=r"keras_vit\.build"):
        components("vit", images)

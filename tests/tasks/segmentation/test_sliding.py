"""Windows over images of any size."""

import numpy as np
import pytest

from keras_vit.errors import InputError
from keras_vit.evaluation.figures import softmax
from keras_vit.preprocessing import Preprocessing
from keras_vit.tasks.segmentation.inference import places, resized, slide, view_of


def by_pixel(images: np.ndarray) -> np.ndarray:
    """A model that looks at one pixel at a time: windows must not change what it says."""
    return np.stack([images[..., 0] / 50, 2 - images[..., 1] / 90, images[..., 2] / 70], -1)


@pytest.mark.parametrize(("side", "window", "overlap"), [(100, 32, 0.0), (100, 32, 0.5), (33, 32, 0.9), (20, 32, 0.5)])
def test_windows_cover_the_image_and_overlap(side, window, overlap):
    found = places(side, window, overlap)
    assert found[0] == 0
    assert found[-1] == max(0, side - window)
    steps = np.diff(found)
    assert (steps > 0).all()
    assert (steps <= max(1, window * (1 - overlap))).all()


@pytest.mark.parametrize("size", [(40, 70), (10, 100), (24, 32), (7, 5)])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_a_model_of_single_pixels_sees_no_windows(size, overlap):
    image = np.random.default_rng(0).uniform(0, 255, (*size, 3))
    found = slide(by_pixel, image, (24, 32), overlap=overlap, batch_size=3)
    assert found.shape == (*size, 3)
    np.testing.assert_allclose(found, softmax(by_pixel(image[None]))[0], atol=1e-6)


def test_pixels_are_averaged_over_their_windows():
    seen = []

    def numbered(images):
        seen.extend(images)
        return np.stack([np.full((4, 4, 2), (len(seen), 0.0)) for _ in images])

    found = slide(numbered, np.zeros((4, 6, 1)), (4, 4), overlap=0.5, batch_size=1)
    first, second = softmax(np.array([[1.0, 0.0], [2.0, 0.0]]))
    np.testing.assert_allclose(found[0, 0], first)
    np.testing.assert_allclose(found[0, 3], (first + second) / 2)
    np.testing.assert_allclose(found[0, 5], second)


def test_beyond_the_edge_is_the_fill():
    views = []
    slide(lambda images: views.append(images) or by_pixel(images), np.zeros((2, 3, 3)), (4, 4), fill=[1.0, 2.0, 3.0])
    assert views[0].shape == (1, 4, 4, 3)
    assert (views[0][0, 2:] == [1, 2, 3]).all()
    assert not views[0][0, :2, :3].any()


def test_views():
    record = Preprocessing((60, 80), fit="pad", crop=1.0)
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype("uint8")
    np.testing.assert_array_equal(view_of(image, record, 1.0), image)
    np.testing.assert_array_equal(view_of(image[:10], record, "native"), image[:10])
    assert view_of(image, record, 2.0).shape == (120, 160, 3)
    assert view_of(np.zeros((30, 80, 3), "uint8"), record, 1.0).shape == (30, 80, 3)
    assert view_of(np.zeros((600, 400, 3), "uint8"), record, 1.0).shape == (60, 40, 3)
    assert view_of(np.zeros((30, 80, 3), "uint8"), Preprocessing((60, 80), fit="squash"), 1.0).shape == (60, 80, 3)
    assert resized(np.zeros((4, 5, 2)), (9, 9)).shape == (9, 9, 2)


def test_a_wrong_overlap_is_one_sentence():
    with pytest.raises(InputError, match=r"overlap is a share of the window.*not 1\.0\.$"):
        slide(by_pixel, np.zeros((4, 4, 3)), (2, 2), overlap=1.0)

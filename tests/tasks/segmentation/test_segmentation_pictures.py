"""Masks over images: the tint, the edges, what is left alone, and the sheet with its legend."""

import numpy as np
import pytest

from keras_vit.evaluation import to_png
from keras_vit.evaluation.colours import class_colours
from keras_vit.tasks.segmentation.pictures import OPACITY, overlay, segmentation_sheet


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_tinted_by_their_class(channels):
    image = np.full((6, 8, channels), 100, "uint8")
    classes = np.zeros((6, 8), "int32")
    classes[:, 4:] = 1
    classes[3:] = -1
    drawn = overlay(image, classes, 2)
    for column, label in ((0, 0), (7, 1)):
        wanted = (1 - OPACITY) * 100 + OPACITY * class_colours(2)[label]
        np.testing.assert_allclose(drawn[0, column], wanted, atol=0.51)
    assert (drawn[5] == 100).all()
    assert drawn[0, 4].max() < drawn[0, 7].max()  # a dark line where classes meet


def test_colours_of_many_classes_differ():
    colours = class_colours(60)
    assert len({tuple(colour) for colour in colours.tolist()}) == 60
    np.testing.assert_array_equal(class_colours(5), colours[:5])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_sheets(count):
    images = [np.full((20 + 5 * i, 30, 3), 90, "uint8") for i in range(count)]
    maps = [(np.zeros(image.shape[:2], int), np.ones(image.shape[:2], int)) for image in images]
    figure = segmentation_sheet(images, maps, ("prediction", "truth"), ["a", "$b", "c"], columns=2)
    assert to_png(figure)[:4] == b"\x89PNG"
    if count:
        assert len(figure.axes) == 2 * count
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["a", "$b"]

"""Pictures of detections are drawn and looked into."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from keras_vit.evaluation.colours import class_colours
from keras_vit.evaluation.pictures import to_png
from keras_vit.tasks.detection.pictures import detection_sheet, draw_detections, truth
from keras_vit.tasks.detection.suppression import Detections

NAMES = ["round", "square"]


def found(*rows) -> Detections:
    """Detections from rows of (x0, y0, x1, y1, class, score)."""
    table = np.array(rows, "float32").reshape(-1, 6)
    return Detections(table[:, :4], table[:, 5], table[:, 4].astype("int64"))


def is_colour(pixels: np.ndarray, index: int) -> np.ndarray:
    return (pixels == class_colours(len(NAMES))[index]).all(-1)


def test_a_box_is_where_it_is_and_in_its_class_s_colour():
    image = np.full((480, 640, 3), 255, "uint8")
    picture = draw_detections(image, found((100, 150, 300, 400, 1, 0.8)), NAMES)
    assert picture.shape == image.shape
    assert picture.dtype == "uint8"
    rows, columns = np.nonzero(is_colour(picture, 1))
    assert (columns.min(), columns.max(), rows.max()) == (100, 299, 399)
    assert is_colour(picture, 1)[150:400, 100].all()
    # The tag stands upon the box; inside it nothing is drawn.
    assert 130 < rows.min() < 150
    assert (picture[155:395, 105:295] == 255).all()
    assert not is_colour(picture, 0).any()


def test_the_truth_has_no_scores_and_a_legend_saves_the_names():
    image = np.full((480, 640, 3), 255, "uint8")
    rows = truth(np.array([[100, 150, 300, 400, 1], [0, 0, 0, 0, -1]], "float32"))
    assert len(rows) == 1
    bare = draw_detections(image, rows, NAMES, named=False)
    named = draw_detections(image, rows, NAMES)
    scored = draw_detections(image, found((100, 150, 300, 400, 1, 0.8)), NAMES)
    ink = [int((picture != 255).any(-1).sum()) for picture in (bare, named, scored)]
    assert ink == sorted(set(ink))
    assert np.nonzero(is_colour(bare, 1))[0].min() == 150


def test_small_and_grey_images_are_enlarged_for_their_words():
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 1)).astype("uint8")
    picture = draw_detections(image, found((10, 10, 20, 20, 0, 0.5)), NAMES)
    assert picture.shape == (360, 480, 3)
    assert is_colour(picture, 0)[120:240, 120].all()
    assert draw_detections(image, found(), NAMES, side=80).shape == (60, 80, 3)
    np.testing.assert_array_equal(draw_detections(image, found(), NAMES)[6::12, 6::12], np.repeat(image, 3, -1))


def test_words_grow_with_large_photos():
    heights = []
    for scale in (1, 4):
        box = np.array([100, 150, 300, 400]) * scale
        image = np.full((480 * scale, 640 * scale, 3), 255, "uint8")
        rows, _ = np.nonzero(is_colour(draw_detections(image, found((*box, 1, 0.8)), NAMES), 1))
        heights.append(box[1] - rows.min())
    assert heights[1] > 3 * heights[0]


@pytest.mark.parametrize("box", [(-20, -20, 700, 500), (630, 470, 640, 480), (5, 5, 5, 5), (0, 0, 3, 2)])
def test_boxes_at_and_beyond_the_border_are_drawn(box):
    picture = draw_detections(np.zeros((480, 640, 3), "uint8"), found((*box, 0, 0.99)), NAMES)
    assert is_colour(picture, 0).any()


def opened(figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(to_png(figure))).convert("RGB"))


def test_a_sheet_shows_what_was_found_beside_the_truth():
    images = [np.full((120, 160, 3), 255, "uint8"), np.full((200, 100, 1), 255, "uint8")]
    groups = [[found((20, 20, 90, 90, 0, 0.9)), found((22, 18, 95, 88, 1, np.nan))], [found(), found()]]
    figure = detection_sheet(images, groups, ("found", "truth"), NAMES, titles=["one.jpg", "$two"])
    assert [axes.get_title() for axes in figure.axes] == ["one.jpg · found", "truth", "$two · found", "truth"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == NAMES
    pixels = opened(figure)
    left, right = pixels[: len(pixels) // 2, : pixels.shape[1] // 2], pixels[: len(pixels) // 2, pixels.shape[1] // 2 :]
    assert is_colour(left, 0).sum() > 200 > is_colour(left, 1).sum()
    assert is_colour(right, 1).sum() > 200 > is_colour(right, 0).sum()
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (border == 255).all()


def test_a_sheet_without_images_says_so():
    assert opened(detection_sheet([], [], ("found", "truth"), NAMES)).std() > 1

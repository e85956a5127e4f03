"""Examples to look at are kept as they were, in pictures that show what they were made of."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from keras_vit.evaluation import Look, Looks, legend_of, load_looks, sized, strip, tiled


def test_they_are_read_back_as_they_were_written(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype("uint8")
    look = Look("a/1.jpg", ("ant (88 %)", "truth: bee"), False, ("photo", "for ant"), strip([photo, photo]))
    other = dataclasses.replace(look, name="ñ.png", right=None, legend={"ant": "#0072b2"})
    looks = Looks("How.", (look, other), (dataclasses.replace(look, right=True),))
    paths = looks.save(tmp_path / "evaluation", "test")
    assert sorted(p.relative_to(tmp_path).as_posix() for p in paths) == [
        "evaluation/test_looks.json",
        "evaluation/test_looks/best_1.jpg",
        "evaluation/test_looks/worst_1.jpg",
        "evaluation/test_looks/worst_2.jpg",
    ]
    assert load_looks(tmp_path / "evaluation", "test") == looks
    assert load_looks(tmp_path / "evaluation", "val") is None


def test_a_strip_holds_its_pictures_from_left_to_right():
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    file = strip([np.full((40, 50, 3), colour, "uint8") for colour in colours])
    image = Image.open(io.BytesIO(file))
    assert (image.format, image.size) == ("JPEG", (3 * 50 + 2 * 6, 40))
    pixels = np.asarray(image).astype(int)
    for place, colour in enumerate(colours):
        assert np.abs(pixels[20, 25 + place * 56] - colour).max() < 12
    assert pixels[20, 52].min() > 230


def test_tiles_leave_white_what_there_is_not():
    tiles = [np.full((2, 3, 3), value, "uint8") for value in (10, 20, 30)]
    sheet = tiled(tiles, 2, gap=1)
    assert sheet.shape == (5, 7, 3)
    assert sheet[:2, :3].max() == 10
    assert (sheet[:2, 4:] == 20).all()
    assert (sheet[3:, :3] == 30).all()
    assert (sheet[2] == 255).all()
    assert (sheet[3:, 4:] == 255).all()
    assert tiled(tiles, 2, gap=0).shape == (4, 6, 3)


@pytest.mark.parametrize(
    ("shape", "size"), [((16, 24, 3), (48, 72)), ((300, 200, 1), (72, 48)), ((4, 400, 3), (1, 72))]
)
def test_images_of_any_shape_get_their_size(shape, size):
    image = np.random.default_rng(0).integers(0, 256, shape).astype("uint8")
    small = sized(image, 72)
    assert small.shape == (*size, 3)
    assert small.dtype == np.uint8
    if shape[0] == 16:  # enlarged with hard edges
        np.testing.assert_array_equal(small, image.repeat(3, 0).repeat(3, 1))


def test_a_legend_has_each_class_once_in_its_colour():
    assert legend_of([2, 0, 2], ["a", "b", "c"]) == {"a": "#0072b2", "c": "#009e73"}

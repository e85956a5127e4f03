"""Contact sheets and pages of explained examples of every task."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import keras_vit
from keras_vit.data import Boxes, Examples, Masks, image_dataset
from keras_vit.evaluation import RIGHT, WRONG, to_array
from keras_vit.explain.explained import explain_examples
from keras_vit.explain.page import card, page
from keras_vit.explain.sheet import SIDE, Panel, draw, panel, per_sheet, sheet
from keras_vit.tasks import make_task

NAMES = ("ant", "bee", "<wasp>")


def examples(labels, shape=(40, 50)) -> Examples:
    images = np.random.default_rng(0).integers(0, 256, (len(labels), *shape, 3)).astype("uint8")
    return Examples(labels, images=images)


@pytest.fixture(scope="module")
def classified(randomize):
    """Three explained images: one labelled rightly or not, one wrongly or not, one not at all."""
    model = keras_vit.build("vit_mu4", num_classes=3, image_size=(16, 24), depth=2)
    randomize(model)
    task = make_task("classification", NAMES)
    given = examples([0, 1, -1])
    found = list(explain_examples(model, task, given, ["relevance", "attention"], labelled=True, progress=False))
    return model, task, given, found


def test_each_example_is_told_with_its_truth(classified):
    model, task, given, found = classified
    assert [one.index for one in found] == [0, 1, 2]
    for one, label in zip(found, given.labels, strict=True):
        np.testing.assert_array_equal(one.photo, given.images[one.index])
        said = one.aim
        assert one.title.startswith(f"{said} (")
        assert one.colour == ("black" if label < 0 else RIGHT if said == NAMES[label] else WRONG)
        assert ("truth" in one.title) == (one.colour == WRONG)
        assert {method: heat.shape for method, heat in one.heats.items()} == dict.fromkeys(
            ("relevance", "attention"), (4, 6)
        )
        assert one.boxes.shape == (0, 4)
    # Another class is another question, and attention does not know the question.
    (other,) = explain_examples(
        model, task, given.subset([0]), ["relevance", "attention"], wanted="<wasp>", progress=False
    )
    assert other.aim == "<wasp>"
    np.testing.assert_allclose(other.heats["attention"], found[0].heats["attention"], atol=1e-6)
    assert np.abs(other.heats["relevance"] - found[0].heats["relevance"]).max() > 1e-3 or found[0].aim == "<wasp>"


def test_blocks_and_heads_of_attention(classified):
    model, task, given, _ = classified
    (one,) = explain_examples(model, task, given.subset([0]), ["attention"], block=0, head=1, progress=False)
    record = keras_vit.preprocessing_of(model)
    (views,) = image_dataset(given.subset([0]), record, batch_size=1)
    wanted = keras_vit.attention(model, views, layers=[0], heads=[1]).maps()[0, 0, 0]
    np.testing.assert_allclose(one.heats["attention_block_0_head_1"], wanted, atol=1e-6)
    with pytest.raises(keras_vit.InputError, match="There is no head 7"):
        next(explain_examples(model, task, given, ["attention"], head=7, progress=False))


def test_a_segmented_class(randomize):
    model = keras_vit.build("vit_mu4", task="segmentation", num_classes=3, image_size=(18, 22), depth=2)
    randomize(model)
    task = make_task("segmentation", NAMES)
    masks = np.zeros((2, 40, 50), "uint8")
    masks[:, 30:] = 1
    given = examples(Masks(masks, {0: 0, 1: 1, 2: 2}))
    found = list(explain_examples(model, task, given, wanted=1, labelled=True, progress=False))
    assert [one.aim for one in found] == ["bee", "bee"]
    assert all(one.title.endswith("truth: ant 75 %, bee 25 %") for one in found)
    # 18 x 22 pixels are padded to patches: 5 x 6, the last of which lie half beyond the image.
    drawn = draw(found[0], keras_vit.preprocessing_of(model), 4)
    assert drawn["relevance"].shape == (40, 50, 3)


def test_a_detected_box_is_drawn(randomize):
    model = keras_vit.build("vit_mu4", task="detection", num_classes=3, image_size=(32, 32), depth=2)
    randomize(model)
    task = make_task("detection", NAMES)
    boxes = [np.array([[1.0, 2.0, 11.0, 12.0]], "float32")] * 2
    labels = Boxes(
        boxes,
        classes=[np.array([1])] * 2,
        crowd=[np.array([False])] * 2,
        areas=[np.array([100.0])] * 2,
        sizes=np.array([[40, 50]] * 2),
    )
    found = list(explain_examples(model, task, examples(labels), labelled=True, progress=False))
    assert [one.index for one in found] == [0, 1]
    for one in found:
        assert one.boxes.shape == (1, 4)
        assert one.title.endswith("truth: 1 bee")
        assert re.fullmatch(r"(ant|bee|<wasp>) \d+ ?%", one.aim)
    # Of what is nowhere to be seen there is nothing, and no error.
    assert list(explain_examples(model, task, examples(labels), wanted="99", progress=False)) == []


def test_sheets_show_every_picture_with_its_words(classified):
    model, _, _, found = classified
    record = keras_vit.preprocessing_of(model)
    colours = np.zeros((4, 6, 3), "uint8")
    panels = [panel(one, f"{one.index}.jpg", draw(one, record, 4, colours)) for one in found]
    assert list(panels[0].pictures) == ["photo", f"relevance for {found[0].aim}", "attention", "components"]
    figure = sheet(panels)
    pictures = [axes for axes in figure.axes if axes.images]
    assert len(pictures) == 12
    titles = [axes.get_title() for axes in pictures]
    assert titles[0].startswith("0.jpg\n")
    assert [axes.title.get_color() for axes in pictures[::4]] == [one.colour for one in found]
    assert to_array(figure).std() > 10
    assert per_sheet(2) == 30
    assert per_sheet(9) == 10


def test_large_photos_are_shrunk_for_sheets():
    photo = np.zeros((1200, 800, 1), "uint8")
    found = type("One", (), {"aim": "ant", "photo": photo, "title": "ant", "colour": "black"})
    assert panel(found, "a.jpg", {}).pictures["photo"].shape == (SIDE, 320, 1)


class Elements(HTMLParser):
    """Tags of a page with their attributes."""

    def __init__(self, content: str):
        super().__init__()
        self.found = []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_the_page_holds_its_pictures_and_asks_for_nothing():
    pictures = {"photo": np.zeros((30, 40, 1), "uint8"), "relevance for <wasp>": np.full((30, 40, 3), 200, "uint8")}
    cards = [card(Panel(f"{n}.jpg", "<wasp> (97 %)\ntruth: bee", WRONG, pictures)) for n in range(3)]
    content = page("What run1 looked at", {"Photos": 3}, cards, pictures=2, notes=["A & B."]).decode()
    elements = Elements(content).found
    tags = [tag for tag, _ in elements]
    assert "script" not in tags
    assert "wasp" not in tags
    images = [attributes for tag, attributes in elements if tag == "img"]
    assert len(images) == 6
    for attributes in images:
        kind, data = attributes["src"].split(";base64,")
        assert kind == "data:image/jpeg"
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (40, 30)
        assert attributes["alt"]
    assert "A &amp; B." in content
    assert content.count('class="bad"') == 6
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", content)

"""The report is parsed as a browser would, and nothing in it comes from outside or escapes its place."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from keras_vit.errors import InputError
from keras_vit.evaluation import (
    Look,
    Looks,
    classification_figures,
    confusion,
    confusion_figure,
    contact_sheet,
    per_class,
    strip,
    to_png,
    write_report,
)

EVIL = "<script>alert('1')</script> & \"$title\""
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Every element with its attributes, the text, and a check that elements close in order."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.words, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture
def arguments() -> dict:
    rng = np.random.default_rng(0)
    names = ["ant", EVIL, "bee", "never seen"]
    labels = rng.integers(0, 3, 60)
    logits = rng.normal(size=(60, 4)) + 3 * np.eye(4)[labels]
    artifact = {"format": "tflite", "max_error": 1e-5, "mean_error": 1e-7, "metric": 0.95, "metric_source": 0.95}
    artifact |= {"agreement": 1.0, "size_bytes": 22_900_000}
    photos = rng.integers(0, 255, (2, 30, 40, 3), dtype="uint8")
    looks = [
        Look(f"{EVIL}.jpg", ("ant (88 %)", "truth: bee"), False, ("photo", EVIL), strip(photos), {EVIL: "#0072b2"}),
        Look("2.jpg", ("bee (97 %)",), True, ("photo",), strip(photos[:1])),
        Look("3.jpg", ("1 bee", "objects missed: 2"), None, ("photo",), strip(photos[:1])),
    ]
    return {
        "title": f"run {EVIL}",
        "summary": {"Model": EVIL, "Parameters": 5717416, "Resumed": False, "Seconds": 1.23456, "Weights": None},
        "history": {"loss": [1.0, 0.5], "val_loss": [1.1, 0.6], "learning_rate": [1e-3, 1e-4]},
        "figures": {"test": classification_figures(logits, labels, names)},
        "per_class": per_class(logits, labels, names),
        "looks": Looks(f"How {EVIL} was looked at.", tuple(looks[:1]), tuple(looks[1:])),
        "pictures": {
            "Confusion matrix": to_png(confusion_figure(confusion(logits, labels), names)),
            EVIL: to_png(contact_sheet(rng.integers(0, 255, (3, 8, 8, 1), dtype="uint8"))),
        },
        "artifacts": [
            artifact | {"file": "model.tflite", "ok": True, "latency_ms": 30.71},
            artifact | {"file": EVIL, "ok": False, "latency_ms": None},
        ],
        "recipe_yaml": f"model: {EVIL}\ncost: $5\n",
    }


@pytest.fixture
def page(arguments, tmp_path) -> Page:
    write_report(tmp_path / "report.html", **arguments)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_the_page_is_well_formed(page):
    assert page.open == []
    assert page.all("html")[0]["lang"] == "en"
    assert [tag for tag, _ in page.elements if tag in ("header", "main", "footer")] == ["header", "main", "footer"]
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids)) == 9
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))


def test_nothing_comes_from_outside(page, tmp_path):
    ids = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    for tag, attrs in page.elements:
        assert tag not in ("script", "link", "iframe", "object", "base")
        assert not [name for name in attrs if name.startswith("on")]
        assert re.match("data:image/(png|jpeg);base64,", attrs.get("src", "data:image/png;base64,"))
        if "href" in attrs:
            assert attrs["href"].removeprefix("#") in ids
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|url\(|@import", text)


def test_every_picture_decodes_and_has_words(page):
    images = page.all("img")
    assert len(images) == 2 + 3 + 2
    for attrs in images:
        image = Image.open(io.BytesIO(base64.b64decode(attrs["src"].partition(",")[2], validate=True)))
        pixels = np.asarray(image.convert("RGB"))
        assert attrs["src"].startswith(f"data:image/{image.format.lower()};")
        assert image.size == (int(attrs["width"]), int(attrs["height"]))
        assert pixels.std() > 1
        assert attrs["alt"]


def test_what_people_named_is_shown_as_they_wrote_it(page):
    # Title twice, summary, class, artifact, caption, recipe; of an example method, name, panel, legend; attributes are
    # checked through the parser, too.
    assert "".join(page.words).count(EVIL) == 7 + 4
    assert EVIL in [image["alt"] for image in page.all("img")]


def test_figures_are_readable(page, arguments):
    words = "|".join(page.words)
    assert f"{100 * arguments['figures']['test']['top1']:.2f} %" in words
    for shown in ("5,717,416", "22.90 MB", "30.7 ms", "100.00 %", "passed", "failed", "1e-05", "1.235"):
        assert shown in words
    # The class without images: no precision, recall, F1.
    assert words.count("\u2013") == 3 + 1 + 1


def test_examples_say_in_words_and_colour_whether_they_are_right(page):
    verdicts = [attrs.get("class") for attrs in page.all("b")]
    assert verdicts == ["bad", "good", None]
    assert [attrs["id"] for attrs in page.all("section")][4:6] == ["worst-examples", "best-examples"]
    words = "|".join(page.words)
    assert "ant (88 %)|truth: bee|" in words
    assert "objects missed: 2" in words
    assert "background:#0072b2" in [attrs.get("style") for attrs in page.all("i")]
    worst = next(image for image in page.all("img") if image["alt"].startswith(EVIL) and "left" in image["alt"])
    assert worst["alt"] == f"{EVIL}.jpg: ant (88 %); truth: bee. From left to right: photo, {EVIL}."


def test_tables_scroll_in_their_own_box(page):
    for place, (tag, _) in enumerate(page.elements):
        if tag == "table":
            assert page.elements[place - 1] == ("div", {"class": "box", "tabindex": "0"})
    assert len(page.all("table")) == 3
    assert len([th for th in page.all("th") if th["scope"] == "row"]) == 1 + 2 + 4


def test_a_short_report_leaves_out_what_there_is_not(tmp_path):
    path = tmp_path / "new" / "report.html"
    write_report(path, title="run", summary={"Model": "vit_ti16"}, figures={}, pictures={}, recipe_yaml="")
    page = Page(path.read_text(encoding="utf-8"))
    assert [attrs["id"] for attrs in page.all("section")] == ["summary"]


def test_unknown_figures_and_odd_file_names_are_shown(arguments, tmp_path):
    arguments |= {"figures": {"test": {"sharpness": 0.51234, "n": 3}}, "summary": {"Data": "bad\udcff name"}}
    write_report(tmp_path / "report.html", **arguments)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "sharpness" in text
    assert "0.5123" in text
    assert "bad? name" in text


def test_the_same_input_gives_the_same_bytes(arguments, tmp_path):
    for name in ("a", "b"):
        write_report(tmp_path / name, **arguments)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_wrong_pictures_and_places_are_named(arguments, tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_report(tmp_path, **arguments)
    with pytest.raises(ValueError, match="'Matrix' is not the bytes of a PNG file"):
        write_report(tmp_path / "report.html", **{**arguments, "pictures": {"Matrix": b"GIF89a"}})
    assert list(tmp_path.iterdir()) == []

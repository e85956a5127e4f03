"""The page of an export is parsed as a browser would and, where there is one, laid out by it."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tiny_files import COUNT, PIXELS, classify, convert, reference_in

from keras_vit import InputError
from keras_vit.export.page import write_page
from keras_vit.export.plot import Point, scatter, ticks
from keras_vit.export.report import print_table, write_report
from keras_vit.export.verify import measure

EVIL = "<script>alert('1')</script> & \"$title\""
NAMES = ["ant", EVIL, "bee", "a_name_of_a_class_that_is_so_long_that_it_has_to_be_broken", "e"]
VOID = {"meta", "img", "line", "circle"}


class Page(HTMLParser):
    """Elements with their attributes and the text; elements must close in order."""

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
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> dict:
    """Of a float file, an int8 one and one that sees no blue."""

    def crippled(image):
        return classify(image * tf.constant([1.0, 1.0, 0.0]))

    folder = tmp_path_factory.mktemp("files")
    reference = reference_in(folder)
    files = {"float.tflite": {}, "int8.tflite": {"interface": tf.uint8}, "crippled.tflite": {"function": crippled}}
    artifacts = []
    for name, settings in files.items():
        figures = measure(convert(folder / name, **settings), "run_tflite", ("images",), reference, threads=2)
        ok = name != "crippled.tflite"
        artifacts.append({"file": name, "format": "tflite", "ok": ok, "kept": True, **figures})
    source = {"model": EVIL, "parameters": 5717416, "precision": "float32", "metric_name": "top1", "images": COUNT}
    source |= {"metric": reference.score, "preprocessing": {"image_size": [4, 6]}, "threads": 2, "processor": "a CPU"}
    search = [
        {"name": "int8 everywhere", "metric": 0.5, "agreement": 0.6, "size_bytes": 6_450_000, "kept": False},
        {"name": EVIL, "metric": 0.8, "latency_ms": 1.234, "kept": True, "in_float": ["block_0", "block_1"]},
    ]
    return {"source": source, "artifacts": artifacts, "search": search}


@pytest.fixture
def page(report, tmp_path) -> Page:
    write_page(report, tmp_path / "export", class_names=NAMES, images=PIXELS)
    assert [path.name for path in (tmp_path / "export").iterdir()] == ["report.html"]
    return Page((tmp_path / "export" / "report.html").read_text(encoding="utf-8"))


def test_the_page_is_well_formed_and_whole(page):
    assert page.open == []
    titles = ["summary", "files", "speed-and-score", "what-was-tried", "inside-the-files", "disagreements"]
    assert [attrs["id"] for attrs in page.all("section")] == titles
    assert [attrs["href"] for attrs in page.all("a")] == [f"#{title}" for title in titles]


def test_nothing_comes_from_outside(page, tmp_path):
    for tag, attrs in page.elements:
        assert tag not in ("script", "link", "iframe", "object", "base")
        assert not [name for name in attrs if name.startswith("on")]
        assert attrs.get("src", "data:image/jpeg;base64,").startswith("data:image/jpeg;base64,")
    text = (tmp_path / "export" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|url\(|@import", text)


def test_figures_are_readable(page, report):
    words = "|".join(page.words)
    entry = report["artifacts"][0]
    for count in ("1", "2"):
        assert f"{entry['latency'][count]['median_ms']:.2f} ms" in words
        assert f"{entry['latency'][count]['p95_ms']:.2f} ms" in words
    for shown in ("5,717,416", "85.71 %", "missed", "100.00 %", "1.23 ms", "in int8", "in float", "block_1"):
        assert shown in words
    change = 100 * (report["artifacts"][2]["metric"] - report["source"]["metric"])
    assert f"{change:.2f} points" in words


def test_what_people_named_is_shown_as_they_wrote_it(page, report):
    # Title twice, once in what was tried; and wherever a picture's truth or guesses are the evil class.
    told = [entry for artifact in report["artifacts"] for entry in artifact["disagreements"]]
    guesses = [index for entry in told for index, _ in (*entry["source"], *entry["file"], (entry["label"], 0))]
    assert "".join(page.words).count(EVIL) == 3 + guesses.count(1)


def test_disagreeing_images_are_shown(page, report):
    told = [entry for artifact in report["artifacts"] for entry in artifact["disagreements"]]
    assert len(told) > 2
    images = page.all("img")
    assert len(images) == len(told)
    for attrs, entry in zip(images, told, strict=True):
        shown = Image.open(io.BytesIO(base64.b64decode(attrs["src"].partition(",")[2], validate=True)))
        assert shown.size == (6, 4)
        assert attrs["alt"] == entry["image"]
        assert np.abs(np.asarray(shown, float).mean() - PIXELS[entry["index"]].mean()) < 12


def test_every_file_is_a_bubble(page, report):
    circles = page.all("circle")
    assert len(circles) == 3
    assert [circle["class"] for circle in circles].count("missed") == 1
    assert "crippled.tflite" in "".join(page.words)


def test_a_report_from_json_gives_the_same_page_but_for_the_pictures(page, report, tmp_path):
    write_report(report, tmp_path / "report.json")
    write_page(json.loads((tmp_path / "report.json").read_text()), tmp_path, class_names=NAMES)
    plain = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert plain.all("img") == []
    assert "".join(plain.words) == "".join(page.words)


def test_parts_without_content_are_left_out(report, tmp_path):
    entry = {**report["artifacts"][0], "inspection": {}, "peak_memory_bytes": None, "max_error": None, "kl": None}
    write_page({"source": report["source"], "artifacts": [entry]}, tmp_path, class_names=NAMES)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert [attrs["id"] for attrs in page.all("section")] == ["summary", "files", "speed-and-score"]


def test_an_onnx_file_has_its_operators_only(report, tmp_path):
    onnx = {"operators": {"MatMul": 3, "Erf": 1}, "custom": []}
    entry = {**report["artifacts"][0], "file": "model.onnx", "inspection": onnx}
    write_page({"source": report["source"], "artifacts": [entry]}, tmp_path, class_names=NAMES)
    assert "MatMul" in (tmp_path / "report.html").read_text()


def test_a_page_that_cannot_be_written_is_one_sentence(report, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="cannot be written"):
        write_page(report, tmp_path / "file", class_names=NAMES)


def test_the_table_fits_a_terminal_of_120(report, capsys):
    from rich.console import Console

    long = [{**entry, "file": f"model_int8_full_{place}.tflite"} for place, entry in enumerate(report["artifacts"])]
    long[0] = {**long[0], "max_error": None, "kl": None, "peak_memory_bytes": None}
    console = Console(width=120)
    print_table({**report, "artifacts": long}, console)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 120
    for shown in ("model_int8_full_2.tflite", "not finite", "missed", "ms, 1", "ms, 2", f"{COUNT} validation images"):
        assert shown in text


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (76.2, 77.9, [76, 76.5, 77, 77.5, 78]),
        (0, 0.05, [0, 0.01, 0.02, 0.03, 0.04, 0.05]),
    ],
)
def test_ticks_are_round(low, high, expected):
    np.testing.assert_allclose(ticks(low, high), expected)


def test_bubbles_stay_inside_the_plot():
    points = [Point("1", "a", 0.001, 0.0, 1e9), Point("2", "b", 1000.0, 1.0, 1.0)]
    circles = Page(scatter(points, source=0.5, x_label="ms", y_label="%")).all("circle")
    for circle in circles:
        assert 0 < float(circle["cx"]) < 480
        assert 0 < float(circle["cy"]) < 320


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(page, width, tmp_path):
    script = "onload = () => { const page = frame.contentDocument.documentElement; "
    script += "document.title = `${page.scrollWidth} of ${page.clientWidth}` }"
    frame = f'<iframe id="frame" src="export/report.html" style="width:{width}px;height:900px;border:0"></iframe>'
    (tmp_path / "frame.html").write_text(f"<title></title>{frame}<script>{script}</script>")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-web-security"]
    flags += ["--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    command = ["chromium", *flags, (tmp_path / "frame.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert f"<title>{width} of {width}</title>" in shown

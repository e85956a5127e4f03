"""A real classifier in MediaPipe and in a browser gives the answers that it gives in Python."""

from __future__ import annotations

import csv
import functools
import http.server
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from edge_helpers import KINDS, convert, edge_script, run_mediapipe, run_tflite
from PIL import Image

import keras_vit
from keras_vit.data.geometry import resize_and_crop
from keras_vit.export.metadata import add_metadata

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "scripts" / "edge" / "index.html"
PACKAGES = ("@litertjs/core@2.5.3", "@mediapipe/tasks-vision@1.1.0", "playwright-core@1.65.1")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def photos(shared_data):
    """20 photos of 20 classes, as files."""
    folder = shared_data / "imagenet_sample"
    rows = list(csv.DictReader((folder / "labels.csv").open()))
    return [folder / "images" / row["file"] for row in rows[::50]]


@pytest.fixture(scope="module")
def classifier(shared_weights, shared_data):
    """DeiT-Ti as published, and its class names."""
    names = [row["name"] for row in csv.DictReader((shared_data / "imagenet_sample" / "labels.csv").open())]
    weights = shared_weights / "deit_tiny_patch16_224.safetensors"
    return keras_vit.build("deit_ti16", num_classes=1000, weights=str(weights)), names


def view(path: Path, record) -> np.ndarray:
    with Image.open(path) as image:
        return resize_and_crop(np.asarray(image.convert("RGB")), record).numpy().astype("uint8")


@pytest.fixture(scope="module")
def site(classifier, photos, tmp_path_factory):
    """A folder with the models by kind, and the photos as pictures that already have the model's size."""
    model, names = classifier
    record = keras_vit.preprocessing_of(model)
    folder = tmp_path_factory.mktemp("site")
    views = np.stack([view(path, record) for path in photos])
    for number, pixels in enumerate(views):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    calibration = np.concatenate([views, np.zeros_like(views[:1]), np.full_like(views[:1], 255)])
    for kind, settings in KINDS.items():
        convert(model, folder / f"{kind}.tflite", calibration, **settings)
        add_metadata(folder / f"{kind}.tflite", name=model.name, class_names=names, preprocessing=record)
    return folder


@pytest.fixture(scope="module")
def views(site):
    return np.stack([np.asarray(Image.open(site / f"{number}.png")) for number in range(20)])


@pytest.fixture(scope="module")
def expected(site, views):
    """Probabilities (20, 1000) in Python, by kind."""
    found = {kind: run_tflite(site / f"{kind}.tflite", views) for kind in KINDS}
    return {kind: scores / 256 if scores.dtype == np.uint8 else scores for kind, scores in found.items()}


@pytest.fixture(scope="module")
def address(site):
    """Serves the folder on this machine, with the npm packages and the pages in it."""
    if not CHROMIUM or not shutil.which("npm"):
        pytest.skip("needs npm and chromium")
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", site, *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm could not install {', '.join(PACKAGES)}: {done.stderr[-300:]}")
    for file in (PAGE, HERE / "drive_page.cjs", HERE / "mediapipe_page.html"):
        shutil.copy(file, site)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def drive(site, address, tmp_path):
    """Runs jobs of drive_page.cjs; urls are given below the address."""

    def run(*jobs):
        jobs = [job | {"url": f"{address}/{job['url']}", "photos": list(map(str, job["photos"]))} for job in jobs]
        (tmp_path / "jobs.json").write_text(json.dumps(jobs))
        command = ["node", site / "drive_page.cjs", tmp_path / "jobs.json"]
        environment = {**os.environ, "CHROMIUM": CHROMIUM}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def assert_alike(answers, expected, tolerance):
    assert [answer.get("problem", "") for answer in answers] == [""] * 20
    assert [answer["index"] for answer in answers] == expected.argmax(-1).tolist()
    np.testing.assert_allclose([answer["score"] for answer in answers], expected.max(-1), atol=tolerance)


# The kernels of dynamic-range int8 round activations while they run, and not alike on every processor.
TOLERANCES = {"float32": 1e-4, "int8-dynamic": 0.05, "uint8": 0.0, "uint8-float": 0.0}


def test_mediapipe_in_python(site, views, expected):
    pytest.importorskip("mediapipe", reason="needs mediapipe")
    files = [site / f"{kind}.tflite" for kind in KINDS]
    for kind, answers in zip(KINDS, run_mediapipe(files, views), strict=True):
        assert_alike(answers, expected[kind], TOLERANCES[kind])


def test_mediapipe_squashes_photos_that_are_not_cut(site, photos, views, expected):
    """Why the README says to cut photos for MediaPipe: it resizes each side by itself."""
    pytest.importorskip("mediapipe", reason="needs mediapipe")
    raw = [np.asarray(Image.open(path).convert("RGB")) for path in photos]
    [answers] = run_mediapipe([site / "float32.tflite"], raw)
    same = sum(a["index"] == i for a, i in zip(answers, expected["float32"].argmax(-1), strict=True))
    assert 12 <= same < 20


def test_mediapipe_in_the_browser(drive, site, expected):
    pictures = [site / f"{number}.png" for number in range(20)]
    jobs = [{"url": f"mediapipe_page.html?model={kind}.tflite", "photos": pictures} for kind in KINDS]
    for kind, done in zip(KINDS, drive(*jobs), strict=True):
        assert_alike(done["answers"], expected[kind], TOLERANCES[kind])


def test_the_page_in_the_browser(drive, site, photos, expected, tmp_path):
    """The page cuts whole photos to the very pixels that the Python example makes of them."""
    script = edge_script()
    screenshots = {str(tmp_path / "desktop.png"): [1200, 800], str(tmp_path / "phone.png"): [390, 844]}
    jobs = [{"url": f"index.html?model={kind}.tflite", "photos": photos, "screenshots": screenshots} for kind in KINDS]
    for kind, done in zip(KINDS, drive(*jobs), strict=True):
        runs = script.Model(str(site / f"{kind}.tflite"), threads=1)
        views = [script.fit(script.read_image(str(path), 3), runs.record) for path in photos]
        in_python = np.stack([runs(pixels)["probabilities"] for pixels in views])
        assert_alike(done["answers"], in_python, TOLERANCES[kind])
        assert all(len(answer["text"].split("%")) == 6 for answer in done["answers"])
        assert done["outside"] == []
        assert done["widths"] == {"1200": 1200, "390": 390}
        if kind in ("float32", "int8-dynamic"):
            assert in_python.argmax(-1).tolist() == expected[kind].argmax(-1).tolist()


def test_the_page_says_what_is_wrong(drive, photos, site):
    (site / "text.tflite").write_text("not a model")
    with (site / "float32.tflite").open("rb") as file:
        (site / "cut.tflite").write_bytes(file.read(1_000_000))
    missing, text, cut, photo = drive(
        {"url": "index.html?model=no.tflite", "photos": photos[:1]},
        {"url": "index.html?model=text.tflite", "photos": photos[:1]},
        {"url": "index.html?model=cut.tflite", "photos": photos[:1]},
        {"url": "index.html?model=float32.tflite", "photos": [site / "text.tflite"]},
    )
    assert "no.tflite cannot be loaded (404)" in missing["answers"][0]["problem"]
    assert "export it with keras-vit" in text["answers"][0]["problem"]
    assert "export it with keras-vit" in cut["answers"][0]["problem"]
    assert photo["answers"][0]["problem"] != ""

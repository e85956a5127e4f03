"""The report of a run in a real browser, on a large screen and on a phone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from keras_vit.cli.main import main

pytestmark = pytest.mark.slow

DRIVER = Path(__file__).parent / "open_report.cjs"
PACKAGE = "playwright-core@1.65.1"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTHS = (1280, 390)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A folder with the driver and what it needs."""
    if not CHROMIUM or not shutil.which("npm"):
        pytest.skip("needs npm and chromium")
    folder = tmp_path_factory.mktemp("browser")
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", folder, PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm could not install {PACKAGE}: {done.stderr[-300:]}")
    shutil.copy(DRIVER, folder)
    return folder


def test_the_report_is_all_there_at_any_width(run, browser, tmp_path):
    copy = shutil.copytree(run.folder, tmp_path / "run")
    assert main(["export", str(copy), "--formats", "tflite"]) == 0
    page = copy / "report.html"
    screenshots = {str(tmp_path / f"{width}.png"): width for width in WIDTHS}
    (tmp_path / "jobs.json").write_text(json.dumps([{"url": page.as_uri(), "screenshots": screenshots}]))
    command = ["node", browser / DRIVER.name, tmp_path / "jobs.json"]
    environment = {**os.environ, "CHROMIUM": CHROMIUM}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["errors"] == []
    assert found["requests"] == []
    assert found["widths"] == {str(width): width for width in WIDTHS}
    # Curves, four of the worst and four of the best examples, the confusion matrix.
    assert len(found["images"]) >= 3 + 8 + 1
    assert all(image["complete"] and image["pixels"] and image["shown"] and image["words"] for image in found["images"])
    for path, width in screenshots.items():
        assert Image.open(path).width == width
    text = page.read_text(encoding="utf-8")
    for heading in ("Figures", "Exported files", "Training", "Worst examples", "Best examples", "Pictures", "Classes"):
        assert f"<h2>{heading}</h2>" in text
    assert "Confusion matrix (test)" in text
    assert "model.tflite" in text

"""The demo's page in a real browser: a photo is dropped on it, and the answer read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from demo_helpers import encode
from PIL import Image

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent / "drive_demo.cjs"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PACKAGE = "playwright-core@1.65.1"


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """A folder with playwright-core."""
    if not CHROMIUM or not shutil.which("npm"):
        pytest.skip("needs npm and chromium")
    folder = tmp_path_factory.mktemp("npm")
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", folder, PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm could not install {PACKAGE}: {done.stderr[-300:]}")
    return folder / "node_modules"


@pytest.mark.parametrize(("width", "height", "dark"), [(1280, 900, False), (390, 844, True)])
def test_a_photo_dropped_on_the_page(width, height, dark, server, client, modules, photo, tmp_path):
    files = {"photo": tmp_path / "photo.jpg", "bad": tmp_path / "bad.jpg", "screenshot": tmp_path / "page.png"}
    files["photo"].write_bytes(encode(photo, "JPEG"))
    files["bad"].write_bytes(b"no photo")
    job = {"url": server.url, "width": width, "height": height, "dark": dark, **{k: str(f) for k, f in files.items()}}
    (tmp_path / "job.json").write_text(json.dumps(job))
    environment = {**os.environ, "CHROMIUM": CHROMIUM, "NODE_PATH": str(modules)}
    command = ["node", SCRIPT, tmp_path / "job.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["errors"] == []
    assert found["outside"] == []
    steps = found["steps"]
    assert all(step["width"] <= width for step in steps.values())
    assert all(loaded for step in steps.values() for _, loaded in step["pictures"])
    assert steps["empty"]["pictures"] == []

    _, expected = client.post("/answer", files["photo"].read_bytes())
    dropped = steps["dropped"]
    assert dropped["who"].startswith("model.tflite answered in ")
    assert dropped["seen"] == [[row["name"], pytest.approx(row["share"])] for row in expected["seen"]]
    assert dropped["agreement"] == expected["agreement"]
    assert dropped["heading"] == f"What speaks for {expected['seen'][0]['name']}"
    assert [alt for alt, _ in dropped["pictures"]] == [
        "Your photo",
        "The photo with what the model looked at in colour",
    ]
    assert steps["pressed"]["heading"] == f"What speaks for {expected['seen'][-1]['name']}"
    assert steps["rollout"]["heading"] == "What model.keras looked at"
    assert steps["source"]["agreement"] == ""
    for name in ("pasted", "chosen"):
        assert steps[name]["state"] == "ready"
        assert steps[name]["who"].startswith("model.keras answered")
    assert steps["bad"]["state"] == "failed"
    assert "cannot be read as a photo" in steps["bad"]["problem"]
    assert steps["bad"]["who"] == ""
    with Image.open(files["screenshot"]) as picture:
        assert picture.width == width

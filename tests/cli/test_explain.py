"""`keras-vit explain`, in process: what it writes, where that is, and how it refuses."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from keras_vit.cli.main import main
from keras_vit.data import load

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def photos(blobs, tmp_path_factory):
    """Test images larger than the model's input: one in a folder of its class, one in that of another, one in none."""
    folder = tmp_path_factory.mktemp("photos")
    examples = load(str(blobs)).test
    for index, name in enumerate(["left", "left", "."]):
        (folder / name).mkdir(exist_ok=True)
        image = Image.fromarray(examples.images[index]).resize((64, 48), Image.Resampling.NEAREST)
        image.save(folder / name / f"{index}.jpg", quality=95)
    return folder


def explain(*words, status: int = 0) -> None:
    assert main(["explain", *map(str, words)]) == status


def refused(capsys, *words) -> str:
    """Runs a command that must fail as wrong input: one sentence, no traceback, status 2."""
    explain(*words, status=2)
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("keras-vit: ")
    return said


@pytest.fixture(scope="module")
def explained(run, photos, tmp_path_factory):
    """The folder of one command that writes everything."""
    out = tmp_path_factory.mktemp("looks") / "new"
    words = ["--method", "relevance,rollout", "--method", "attention", "--block", 0, "--head", 0]
    explain(run.folder, photos, *words, "--components", "--html", "--out", out)
    return out


def test_everything_is_written_in_the_photos_own_size(explained):
    kinds = {"relevance", "rollout", "attention_block_0_head_0", "components"}
    assert {path.name for path in explained.iterdir()} == {*kinds, "sheet.png", "index.html"}
    for kind in kinds:
        assert {path.name for path in (explained / kind).iterdir()} == {"0.png", "1.png", "2.png"}
        for path in (explained / kind).iterdir():
            assert Image.open(path).size == (64, 48)
    sheet = np.asarray(Image.open(explained / "sheet.png").convert("RGB"))
    assert sheet.std() > 20


def test_the_page_tells_prediction_truth_and_method(explained, run):
    content = (explained / "index.html").read_text()
    titles = re.findall(r"<b>(.*?)</b>((?:<span.*?</span>)+)", content)
    assert [name.rsplit("/", 1)[-1] for name, _ in titles] == ["2.jpg", "0.jpg", "1.jpg"]
    # 2.jpg lies in no class's folder, 0.jpg in its own, 1.jpg is in truth one of another.
    unknown, right, wrong = (words for _, words in titles)
    assert 'class=""' in unknown
    assert re.search(r'class="good">left \(\d+ %\)', right)
    assert "truth: left" in wrong
    assert "1 of 2" in content
    assert "attention block 0 head 0" in content
    assert content.count("<img") == 3 * 5
    assert run.folder.name in content
    assert "<script" not in content


def test_a_split_of_the_runs_own_data(run, tmp_path, capsys):
    explain(run.folder, "--split", "test", "--limit", 3, "--target", "middle", "--method", "rollout", "--out", tmp_path)
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2:] == [str(tmp_path / "rollout"), str(tmp_path / "sheet.png")]
    assert len(list((tmp_path / "rollout").iterdir())) == 3
    assert not (tmp_path / "index.html").exists()


def test_what_is_wrong_is_said_in_a_sentence_and_nothing_is_written(run, photos, tmp_path, capsys):
    out = ("--out", tmp_path / "looks")
    assert "did you mean 'relevance'" in refused(capsys, run.folder, photos, "--method", "rollout,relevence", *out)
    assert "is no run folder" in refused(capsys, tmp_path / "nowhere", photos, *out)
    assert "Give either photos or --split" in refused(capsys, run.folder, *out)
    assert "Give either photos or --split" in refused(capsys, run.folder, photos, "--split", "val", *out)
    assert "There is no image" in refused(capsys, run.folder, tmp_path / "none.jpg", *out)
    assert "did you mean 'middle'" in refused(capsys, run.folder, photos, "--target", "midle", *out)
    assert "There is no class 3" in refused(capsys, run.folder, photos, "--target", 3, *out)
    attention = ("--method", "attention", *out)
    assert "There is no head 9" in refused(capsys, run.folder, photos, *attention, "--head", 9)
    assert "There is no block 12" in refused(capsys, run.folder, photos, *attention, "--block", 12)
    assert "add --method attention" in refused(capsys, run.folder, photos, "--block", 0, *out)
    assert "at least 1, not 0" in refused(capsys, run.folder, photos, "--limit", 0, *out)
    (tmp_path / "empty").mkdir()
    assert "no images" in refused(capsys, run.folder, tmp_path / "empty", *out)
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(capsys, run.folder, photos, "--out", tmp_path / "file" / "looks")
    assert not (tmp_path / "looks").exists()


def test_a_damaged_photo_stops_or_is_left_out(run, photos, tmp_path, capsys):
    folder = shutil.copytree(photos, tmp_path / "photos")
    damaged = folder / "left" / "0.jpg"
    damaged.write_bytes(damaged.read_bytes()[:300])
    out = tmp_path / "looks"
    assert "0.jpg" in refused(capsys, run.folder, folder, "--out", out)
    assert not out.exists()
    explain(run.folder, folder, "--out", out, "--skip-bad")
    assert "left out" in capsys.readouterr().out
    assert {path.name for path in (out / "relevance").iterdir()} == {"1.png", "2.png"}


def test_an_exported_file_sends_to_its_run(run, photos, tmp_path, capsys):
    own = tmp_path / "own"
    for name in ("recipe.yaml", "model.keras", "labels.txt"):
        own.mkdir(exist_ok=True)
        shutil.copy(run.folder / name, own)
    (own / "export").mkdir()
    for file in (own / "export" / "model.tflite", tmp_path / "model.tflite"):
        file.write_bytes(b"never opened")
    said = refused(capsys, own / "export" / "model.tflite", photos)
    assert said.endswith(f"has no attention that could be looked into: give the run it lies in, {own}.")
    assert "the run that it was exported from" in refused(capsys, tmp_path / "model.tflite", photos)


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="needs chromium")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_in_a_browser(explained, width, tmp_path):
    """It fits the screen, every picture is there, nothing is asked for and nothing is complained of."""
    script = """onload = () => {
      const page = frame.contentDocument, pictures = [...page.images], asked = frame.contentWindow.performance;
      const loaded = pictures.filter(picture => picture.complete && picture.naturalWidth === 64).length;
      const outside = asked.getEntriesByType("resource").filter(entry => !entry.name.startsWith("data:")).length;
      document.title = [page.documentElement.scrollWidth, pictures.length, loaded, outside].join(" ");
    }"""
    frame = (
        f'<iframe id="frame" src="{(explained / "index.html").as_uri()}" style="width:{width}px;height:900px;border:0">'
    )
    (tmp_path / "frame.html").write_text(f"<title></title>{frame}</iframe><script>{script}</script>")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-web-security"]
    flags += ["--allow-file-access-from-files", "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [CHROMIUM, *flags, "--dump-dom", (tmp_path / "frame.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert f"<title>{width} 15 15 0</title>" in done.stdout
    assert "CONSOLE" not in done.stderr

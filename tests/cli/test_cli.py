"""The command line, in process: what it prints, what it writes, and how it refuses."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from keras_vit.cli.main import COMMANDS, main
from keras_vit.data import load


@pytest.fixture
def photos(blobs, tmp_path):
    """Some test images as files, with a folder, a nested folder, and one that is not upright RGB."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    examples = load(str(blobs)).test
    for index in range(4):
        (folder / f"{index}.png").write_bytes(examples.raw(index))
    Image.fromarray(examples.images[4]).convert("RGBA").save(folder / "deep" / "4.webp", lossless=True)
    return folder


@pytest.fixture
def own(run, tmp_path):
    """A copy of the finished run that a test may change."""
    return shutil.copytree(run.folder, tmp_path / "own")


def refused(capsys, *words: str) -> str:
    """Runs a command that must fail as wrong input: one sentence, no traceback, status 2."""
    assert main([str(word) for word in words]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("keras-vit: ")
    return said


@pytest.mark.parametrize("command", ["", *(module.NAME for module in COMMANDS)])
def test_help_has_examples(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"] if command else ["--help"])
    assert caught.value.code == 0
    assert ("examples:" if command else "COMMAND") in capsys.readouterr().out


def test_unknown_command_is_status_2():
    with pytest.raises(SystemExit) as caught:
        main(["trian"])
    assert caught.value.code == 2


def test_models(capsys):
    assert main(["models", "deit_t*"]) == 0
    assert "deit_ti16" in capsys.readouterr().out
    assert "No architecture" in refused(capsys, "models", "resnet*")


def test_train_from_a_recipe_with_flags_over_it(tiny, tmp_path, capsys):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump(tiny("elsewhere")))
    out = tmp_path / "out"
    words = [
        "train",
        "--recipe",
        recipe,
        "--out",
        out,
        "--epochs",
        "1",
        "--seed",
        "7",
        "--set",
        "train.label_smoothing=0.2",
    ]
    assert main([str(word) for word in words]) == 0
    record = yaml.safe_load((out / "recipe.yaml").read_text())
    assert (record["train"]["epochs"], record["seed"], record["train"]["label_smoothing"]) == (1, 7, 0.2)
    printed = capsys.readouterr().out
    assert "run folder" in printed
    assert str(out / "report.html") in printed
    assert "exists: --resume continues it" in refused(capsys, *words)
    # More epochs, from the run's own recipe.
    assert main(["train", "--out", str(out), "--resume", "--epochs", "2"]) == 0
    assert "resuming after epoch 1" in capsys.readouterr().out


def test_evaluate(own, capsys):
    assert main(["evaluate", str(own)]) == 0
    printed = capsys.readouterr().out
    assert "precision" in printed
    assert str(own / "evaluation" / "test_confusion.png") in printed
    assert main(["evaluate", str(own), "--split", "train"]) == 0
    assert set(json.loads((own / "metrics.json").read_text())) == {"val", "test", "train"}


def test_evaluate_on_other_data_in_another_class_order(own, blobs, tmp_path, capsys):
    with np.load(blobs) as arrays:
        images, labels = arrays["x_test"], arrays["y_test"]
    folder = tmp_path / "other"
    # "middle" and "right" only: labels 0 and 1 here are 1 and 2 of the model.
    for index, label in enumerate(labels):
        if label:
            name = ("left", "middle", "right")[label]
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[index]).save(folder / name / f"{index}.png")
    words = ["evaluate", own, "--data", folder, "--split", "all", "--out", tmp_path / "check"]
    assert main([str(word) for word in words]) == 0
    figures = json.loads((tmp_path / "check" / "metrics.json").read_text())["all"]
    assert figures["n"] == 20
    assert figures["top1"] >= 0.9
    # Without --out it goes beside the run's own pictures, not over them.
    before = (own / "evaluation" / "test_confusion.png").read_bytes(), (own / "metrics.json").read_text()
    assert main(["evaluate", str(own), "--data", str(folder), "--split", "all"]) == 0
    assert (own / "evaluation" / "other" / "all_confusion.png").is_file()
    after = (own / "evaluation" / "test_confusion.png").read_bytes(), (own / "metrics.json").read_text()
    assert after == before
    (folder / "left").mkdir()
    (folder / "right").rename(folder / "wrong")
    shutil.copytree(folder / "middle", folder / "left", dirs_exist_ok=True)
    assert "has a class 'wrong'" in refused(capsys, *words)


def test_predict(run, photos, tmp_path, capsys):
    truth = load(run.recipe.data.spec).test.labels[:5]
    assert main(["predict", str(run.folder), str(photos), "--json", "-"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 5
    by_file = {row["file"].rsplit("/", 1)[-1]: row["top"][0]["name"] for row in rows}
    right = sum(by_file[name] == run.class_names[truth[int(name[0])]] for name in by_file)
    assert right >= 4
    assert all(sum(guess["probability"] for guess in row["top"]) == pytest.approx(1, abs=1e-5) for row in rows)

    assert main(["predict", str(run.folder), f"{photos}/*.png", "--csv", str(tmp_path / "p.csv"), "--top", "1"]) == 0
    assert len(list(csv.DictReader((tmp_path / "p.csv").open()))) == 4
    capsys.readouterr()
    assert main(["predict", str(run.folder), str(photos / "0.png")]) == 0
    assert "0.png" in capsys.readouterr().out


def test_export(own, capsys, monkeypatch):
    # As a person would: from another folder, with a relative path.
    monkeypatch.chdir(own.parent)
    assert main(["export", own.name, "--formats", "tflite"]) == 0
    report = json.loads((own / "export" / "report.json").read_text())
    assert [row["ok"] for row in report["artifacts"]] == [True]
    assert "model.tflite" in (own / "report.html").read_text()
    capsys.readouterr()
    assert "did you mean 'tflite'" in refused(capsys, "export", own, "--formats", "tflit")


class TestWrongInput:
    def test_missing_things(self, run, tmp_path, capsys):
        assert "is no run folder" in refused(capsys, "evaluate", tmp_path / "nowhere")
        assert "is no run folder" in refused(capsys, "predict", tmp_path, "x.jpg")
        assert "There is no image" in refused(capsys, "predict", run.folder, tmp_path / "none.jpg")
        assert "There is no recipe" in refused(capsys, "train", "--recipe", tmp_path / "r.yaml")
        assert "add --out" in refused(capsys, "train", "--resume")
        (tmp_path / "empty").mkdir()
        assert "no images" in refused(capsys, "predict", run.folder, tmp_path / "empty")

    def test_settings(self, tmp_path, capsys):
        assert "path.to.setting=value" in refused(capsys, "train", "--set", "epochs")
        assert "did you mean 'epochs'" in refused(capsys, "train", "--set", "train.epoch=3")
        assert "There is no model" in refused(
            capsys, "train", "--data", "digits", "--model", "vit_q16", "--out", tmp_path / "r"
        )
        assert not (tmp_path / "r").exists()

    def test_corrupt_image(self, run, photos, capsys):
        good = photos / "0.png"
        good.write_bytes(good.read_bytes()[:200])
        assert "0.png" in refused(capsys, "predict", run.folder, photos)
        assert main(["predict", str(run.folder), str(photos), "--skip-bad"]) == 0
        assert "left out" in capsys.readouterr().out

    def test_unwritable_output(self, run, photos, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        said = refused(capsys, "predict", run.folder, photos, "--json", tmp_path / "file" / "p.json")
        assert "cannot be written" in said

"""`keras-vit probe`: what it prints and writes, and how it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from keras_vit.cli.main import main
from keras_vit.data import load
from keras_vit.probing import Embedder, probe


def refused(capsys, *words) -> str:
    """Runs the command, which must fail as wrong input: one sentence, no traceback, status 2."""
    assert main(["probe", *map(str, words)]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("keras-vit: ")
    return said


def test_a_run_on_its_own_data(run, tmp_path, capsys):
    words = ["probe", str(run.folder), "--json", str(tmp_path / "p.json"), "--k", "3,9", "--c", "0.1"]
    assert main([*words, "--nearest", "2", "--out", str(tmp_path / "near")]) == 0
    printed = capsys.readouterr().out
    for word in ("32 features an image: 96 train, 30 val", "knn, k 9", "linear, c 0.1", "top1", "precision", "middle"):
        assert word in printed
    record = json.loads((tmp_path / "p.json").read_text())
    assert (record["model"], record["weights"], record["train"]) == ("vit_mu4", str(run.folder), 96)
    data, embedder = load(run.recipe.data.spec, progress=False), Embedder(run.model)
    pairs = [(embedder.embed(split, progress=False), split.labels) for split in (data.train, data.val)]
    for row, wanted in zip(record["probes"], probe(*pairs, data.class_names, k=[3, 9], c=0.1), strict=True):
        assert row["method"] == wanted.method
        assert row["val"] == pytest.approx(wanted.figures, abs=1e-4)
        assert [each["name"] for each in row["per_class"]] == data.class_names
    assert record["probes"][-1]["val"]["top1"] >= 0.9
    rows = json.loads((tmp_path / "near" / "nearest.json").read_text())
    assert len(rows) == 30
    assert all(len(row["nearest"]) == 2 for row in rows)
    assert (tmp_path / "near" / "nearest.png").read_bytes().startswith(b"\x89PNG")


def test_an_architecture_on_a_split_that_is_made_and_json_alone_on_standard_output(blobs, tmp_path, capsys):
    with np.load(blobs) as arrays:
        np.savez(tmp_path / "one.npz", x_train=arrays["x_train"], y_train=arrays["y_train"])
    words = ["vit_mu4", "--weights", "random", "--image-size", "16", "--data", str(tmp_path / "one.npz")]
    assert main(["probe", *words, "--split", "test", "--method", "knn", "--k", "5", "--json", "-"]) == 0
    printed = capsys.readouterr()
    record = json.loads(printed.out)
    assert "Split: of 96 train images" in printed.err
    assert (record["weights"], record["train"]) == ("random", 81)
    assert record["probes"][0]["test"]["n"] == 15


class TestWrongInput:
    def test_settings(self, run, tmp_path, capsys):
        assert "no method 'kn': did you mean 'knn'" in refused(capsys, run.folder, "--method", "kn")
        assert "such as 10,20, not '10;20'" in refused(capsys, run.folder, "--k", "10;20")
        assert "There are 96 training images, fewer than k = 200" in refused(capsys, run.folder, "--k", "10,200")
        assert "fewer than k = 99" in refused(capsys, run.folder, "--nearest", "99", "--out", tmp_path / "o")
        assert "above 0, not 0.0" in refused(capsys, run.folder, "--c", "0")
        assert "belong together" in refused(capsys, run.folder, "--nearest", "3")
        assert not (tmp_path / "o").exists()

    def test_data(self, run, blobs, tmp_path, capsys):
        model = ("vit_mu4", "--weights", "random", "--image-size", "16")
        assert "add --data" in refused(capsys, *model)
        assert str(tmp_path / "none") in refused(capsys, *model, "--data", tmp_path / "none")
        with np.load(blobs) as arrays:
            left = {name: arrays[name][::3] for name in ("x_train", "y_train")}
            names, split = arrays["class_names"], {name: arrays[name] for name in arrays if not name.endswith("test")}
        np.savez(tmp_path / "left.npz", class_names=names[:1], **left)
        said = refused(capsys, *model, "--data", tmp_path / "left.npz", "--split", "test")
        assert "only one class (left)" in said
        np.savez(tmp_path / "no_test.npz", **split)
        said = refused(capsys, *model, "--data", tmp_path / "no_test.npz", "--split", "test")
        assert "has no test split: choose --split from train, val" in said

    def test_places(self, run, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        assert "cannot be written" in refused(capsys, run.folder, "--json", tmp_path / "file" / "p.json")
        assert "cannot be written" in refused(capsys, run.folder, "--nearest", "3", "--out", tmp_path / "file" / "o")

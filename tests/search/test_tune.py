"""Searches with real runs: they are repeatable, resumable, shared by processes, and never look at the test split."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from keras_vit.cli.main import main
from keras_vit.errors import Failure, InputError
from keras_vit.search import Choice, Range, tune
from keras_vit.training import Recipe, load_run

SPACE = {"train.learning_rate": Range(1e-4, 1e-2, log=True), "train.optimizer": Choice(("adamw", "lion"))}
SMALL = {"train.epochs": 2, "train.schedule": "constant"}


def rows_of(folder) -> list[dict]:
    with (folder / "trials.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def values_of(folder) -> list[tuple]:
    """What repeats: the values and what came of them, by trial."""
    rows = sorted(rows_of(folder), key=lambda row: int(row["trial"]))
    return [(row["train.learning_rate"], row["train.optimizer"], row["state"], row["value"]) for row in rows]


@pytest.fixture(scope="module")
def searched(tiny, tmp_path_factory):
    """A search that nothing interrupts, and its best run."""
    folder = tmp_path_factory.mktemp("search") / "whole"
    return folder, tune(Recipe.from_dict(tiny(None, **SMALL)), SPACE, folder, trials=3, pruning=False)


def test_what_a_search_leaves(searched, tiny):
    folder, best = searched
    rows = rows_of(folder)
    assert [row["state"] for row in rows] == ["complete"] * 3
    own = Recipe.from_dict(tiny(None, **SMALL))
    assert float(rows[0]["train.learning_rate"]) == own.train.learning_rate, "the first trial is the recipe itself"
    assert rows[0]["train.optimizer"] == "adamw"
    values = [float(row["value"]) for row in rows]
    top = int(np.argmax(values))
    assert best.folder == folder / "trials" / f"{top:04d}"
    assert max(best.history["val_top1"]) == pytest.approx(values[top])
    found = Recipe.read(folder / "best.yaml")
    assert found.train.learning_rate == pytest.approx(float(rows[top]["train.learning_rate"]))
    assert found.out is None
    assert (folder / "search.png").stat().st_size > 5000


def test_only_the_best_trial_sees_the_test_split(searched):
    folder, best = searched
    for trial in sorted((folder / "trials").glob("0*")):
        metrics = json.loads((trial / "metrics.json").read_text())
        assert set(metrics) == ({"val", "test"} if trial == best.folder else {"val"})


def test_called_again_it_goes_on(searched, tiny):
    folder, _ = searched
    before = values_of(folder)
    tune(Recipe.from_dict(tiny(None, **SMALL)), SPACE, folder, trials=3, pruning=False)
    assert values_of(folder) == before
    tune(Recipe.from_dict(tiny(None, **SMALL)), SPACE, folder, trials=4, pruning=False)
    assert values_of(folder)[:3] == before
    assert len(values_of(folder)) == 4


@pytest.mark.slow
def test_killed_stopped_and_resumed_it_ends_as_if_it_had_not_been(searched, tiny, tmp_path):
    whole, _ = searched
    recipe, folder = tmp_path / "r.yaml", tmp_path / "search"
    recipe.write_text(yaml.safe_dump(tiny(None, **SMALL)))
    words = ["tune", "--recipe", recipe, "--out", folder, "--trials", "3", "--no-pruning"]
    words += ["--search", "train.learning_rate=0.0001:0.01:log", "--search", "train.optimizer=adamw,lion"]
    command = [sys.executable, "-m", "keras_vit", *map(str, words)]
    for number, sent in ((0, signal.SIGKILL), (1, signal.SIGTERM)):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        checkpoints = folder / "trials" / f"{number:04d}" / "checkpoints"
        while not any(checkpoints.glob("*")) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(sent)
        _, said = process.communicate()
        if sent == signal.SIGTERM:
            assert process.returncode == 3
            assert "goes on when it is called again" in said
    assert main([str(word) for word in words]) == 0
    assert values_of(folder) == values_of(whole)[:3]


@pytest.mark.slow
def test_two_workers_share_the_work(searched, tiny, tmp_path):
    recipe, folder = tmp_path / "r.yaml", tmp_path / "search"
    recipe.write_text(yaml.safe_dump(tiny(None, **SMALL)))
    words = ["tune", "--recipe", recipe, "--out", folder, "--trials", "4", "--search", "train.optimizer=adamw,lion"]
    command = [sys.executable, "-m", "keras_vit", *map(str, words)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    ended = [{line.split(":")[0] for line in text.splitlines() if line.startswith("trial ")} for text in said]
    assert not ended[0] & ended[1], "no trial was run twice"
    assert ended[0] | ended[1] == {f"trial {number}" for number in range(4)}
    assert len(rows_of(folder)) == 4


@pytest.mark.slow
def test_pruned_trials_of_tune_are_recorded(tiny, tmp_path):
    rates = {"train.learning_rate": Choice((3e-3, 1e-9)), "train.weight_decay": Range(0.01, 0.02)}
    settings = tiny(None, **{**SMALL, "train.epochs": 4, "train.learning_rate": 3e-3})
    tune(Recipe.from_dict(settings), rates, tmp_path / "s", trials=7)
    rows = rows_of(tmp_path / "s")
    pruned = [row for row in rows if row["state"] == "pruned"]
    assert pruned
    assert all(int(row["epochs"]) < 4 for row in pruned)
    assert float(max(rows, key=lambda row: float(row["value"]))["train.learning_rate"]) == 3e-3


@pytest.mark.slow
def test_failed_trials_are_recorded_and_the_search_goes_on(tiny, tmp_path):
    # Lion at such a rate leaves numbers at once.
    space = {"train.learning_rate": Choice((3e-3, 1e30))}
    tune(Recipe.from_dict(tiny(None, **SMALL, **{"train.learning_rate": 3e-3})), space, tmp_path / "s", trials=4)
    rows = rows_of(tmp_path / "s")
    failed = [row for row in rows if row["state"] == "fail"]
    assert failed
    assert all("loss" in row["reason"] or "weight" in row["reason"] for row in failed)
    assert any(row["state"] == "complete" for row in rows)


@pytest.mark.slow
def test_a_hopeless_search_ends(tiny, tmp_path):
    settings = tiny(None, **SMALL, **{"train.learning_rate": 1e30})
    with pytest.raises(Failure, match="The first 3 trials have failed"):
        tune(Recipe.from_dict(settings), {"train.weight_decay": Range(0.01, 0.02)}, tmp_path / "s", trials=9)


def test_refusals(searched, tiny, tmp_path, capsys):
    folder, _ = searched
    other = Recipe.from_dict(tiny(None, **SMALL, seed=5))
    with pytest.raises(InputError, match="search of another recipe or space"):
        tune(other, SPACE, folder, trials=3)
    with pytest.raises(InputError, match="something else than a search"):
        tune(other, SPACE, folder / "trials", trials=3)
    with pytest.raises(InputError, match="at least 1 trial"):
        tune(other, SPACE, tmp_path / "n", trials=0)
    with pytest.raises(InputError, match="nowhere"):
        tune(Recipe.from_dict(tiny(None, **{"data.spec": "nowhere/at/all"})), SPACE, tmp_path / "n")
    assert not (tmp_path / "n").exists()
    assert main(["tune", "--data", "digits"]) == 2
    assert "add --out" in capsys.readouterr().err


def test_the_best_recipe_trains(searched, tmp_path):
    folder, best = searched
    words = ["train", "--recipe", str(folder / "best.yaml"), "--out", str(tmp_path / "again")]
    assert main(words) == 0
    assert load_run(tmp_path / "again").history["val_loss"] == pytest.approx(best.history["val_loss"], rel=1e-4)

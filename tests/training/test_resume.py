"""A run that is killed loses at most the epoch it was in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import yaml

from keras_vit.training import Recipe, load_run, train

CHANGES = {
    "train.epochs": 4,
    "train.ema": 0.9,
    "model.dropout": 0.1,
    "model.depth": 2,
    "augment.mixup": 0.2,
    "train.monitor": "val_loss",
}


def command(recipe_file, out, *flags) -> list[str]:
    return [sys.executable, "-m", "keras_vit", "train", "--recipe", str(recipe_file), "--out", str(out), *flags]


def test_killed_in_the_middle_of_an_epoch_and_resumed_equals_uninterrupted(tiny, tmp_path):
    settings = tiny(tmp_path / "whole", **CHANGES)
    whole = train(Recipe.from_dict(settings), progress=False)

    recipe_file, out = tmp_path / "recipe.yaml", tmp_path / "killed"
    recipe_file.write_text(yaml.safe_dump(settings))
    record = out / "checkpoints" / "state.json"
    with subprocess.Popen(command(recipe_file, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        # The first whole epochs are on disk and the next one has begun: now the power goes.
        while not (record.exists() and json.loads(record.read_text())["epoch"] >= 2):
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert json.loads(record.read_text())["epoch"] < 4
    assert not (out / "metrics.json").exists()

    subprocess.run(command(recipe_file, out, "--resume"), check=True, capture_output=True)
    resumed = load_run(out)
    for name in ("loss", "top1", "val_loss", "val_top1", "learning_rate"):
        if name in whole.history:
            np.testing.assert_allclose(resumed.history[name], whole.history[name], rtol=1e-4, err_msg=name)
    assert len(resumed.history["loss"]) == 4
    np.testing.assert_allclose(resumed.metrics["test"]["loss"], whole.metrics["test"]["loss"], rtol=1e-4)


def test_resuming_a_finished_run_trains_no_further(run, tmp_path):
    before = load_run(run.folder).history
    again = train(run.recipe, resume=True, progress=False)
    assert again.history == before


def test_a_checkpoint_that_was_being_written_is_never_seen(run):
    leftovers = [path.name for path in (run.folder / "checkpoints").iterdir()]
    assert sorted(leftovers) == ["epoch-0006.weights.h5", "state.json"]

"""A run that is stopped anywhere goes on as if it had not been, and says what went wrong."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from keras_vit.cli.main import main
from keras_vit.data import load
from keras_vit.errors import InputError, Stopped
from keras_vit.training import Recipe, load_run, train
from keras_vit.training.checkpoints import Checkpoints, State, last_state
from keras_vit.training.pace import PACE
from keras_vit.training.progress import ShowProgress
from keras_vit.training.signals import StopSignals

CHANGES = {
    "train.epochs": 4,
    "train.ema": 0.9,
    "model.dropout": 0.1,
    "model.depth": 2,
    "augment.mixup": 0.2,
    "train.monitor": "val_loss",
}
"""Six steps an epoch."""


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """The run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return train(Recipe.from_dict(tiny(folder, **CHANGES)), progress=False)


def assert_same(resumed, whole, rtol=1e-4):
    assert set(resumed.history) == set(whole.history)
    for name in set(whole.history) - set(PACE):
        np.testing.assert_allclose(resumed.history[name], whole.history[name], rtol=rtol, err_msg=name)
    np.testing.assert_allclose(resumed.metrics["test"]["loss"], whole.metrics["test"]["loss"], rtol=rtol)
    assert not [path for path in resumed.folder.rglob("*") if "partial" in path.name]


def at(monkeypatch, act, *, method: str, epoch: int, step: int = 0, times: int = 1):
    """Calls `act(model)` at one moment of the next run, before or after a batch of training or of validation."""
    original, done = getattr(ShowProgress, method, None), []

    def acting(self, batch, logs=None):
        if original:
            original(self, batch, logs)
        if len(done) < times and (self.now, batch) == (epoch, step):
            done.append(True)
            act(self.model)

    begin = ShowProgress.on_epoch_begin

    def beginning(self, epoch, logs=None):
        self.now = epoch
        begin(self, epoch, logs)

    monkeypatch.setattr(ShowProgress, "on_epoch_begin", beginning)
    monkeypatch.setattr(ShowProgress, method, acting, raising=False)


def test_killed_inside_an_epoch(tiny, tmp_path, whole):
    settings = tiny(tmp_path / "killed", **CHANGES, **{"train.save_minutes": 1e-6})
    recipe_file, checkpoints = tmp_path / "recipe.yaml", tmp_path / "killed" / "checkpoints"
    recipe_file.write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "keras_vit", "train", "--recipe", str(recipe_file)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not list(checkpoints.glob("epoch-0002-step-00000[1-9].json")):
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    assert last_state(checkpoints).epoch == 2
    assert not (tmp_path / "killed" / "metrics.json").exists()
    assert_same(train(Recipe.from_dict(settings), resume=True, progress=False), whole)


def test_signals_save_and_damage_costs_one_interval(tiny, tmp_path, whole, monkeypatch, capsys):
    """SIGTERM inside an epoch, a flipped bit in the checkpoint that it left, and Ctrl-C during validation: one after
    the other, over one run."""
    settings = tiny(tmp_path / "r", **CHANGES, **{"train.save_minutes": 1e-6, "train.keep": 3})
    checkpoints = tmp_path / "r" / "checkpoints"
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    recipe_file = tmp_path / "recipe.yaml"
    recipe_file.write_text(yaml.safe_dump(settings))
    with monkeypatch.context() as patch:
        at(patch, lambda model: signal.raise_signal(signal.SIGTERM), method="on_train_batch_end", epoch=1, step=2)
        assert main(["train", "--recipe", str(recipe_file)]) == 3
    said = capsys.readouterr().err.strip()
    assert re.fullmatch(r"keras-vit: SIGTERM stopped the run in epoch 2 after step 3, .* --out .* --resume\.", said)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before

    newest = checkpoints / "epoch-0001-step-000003.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    with monkeypatch.context() as patch:
        at(patch, lambda model: signal.raise_signal(signal.SIGINT), method="on_test_batch_end", epoch=2)
        with pytest.raises(Stopped, match="SIGINT stopped the run in epoch 3 after step 6"):
            train(Recipe.from_dict(settings), resume=True, progress=False)
    said = capsys.readouterr().out
    assert "epoch-0001-step-000003 is damaged" in said
    assert "resuming after epoch 1, step 2" in said

    assert_same(train(Recipe.from_dict(settings), resume=True, progress=False), whole)


def test_resuming_a_finished_run_trains_no_further(run):
    before = load_run(run.folder).history
    again = train(run.recipe, resume=True, progress=False)
    assert again.history == before


def test_divergence_goes_back_once_and_then_names_the_images(tiny, tmp_path, monkeypatch, capsys):
    """Poisoned weights stand for a learning rate that is too high at some steps."""
    settings = tiny(tmp_path / "r", **{"train.epochs": 3, "train.back_off": 1})
    rates = []

    def poison(model):
        rates.append(float(model.optimizer.learning_rate))
        model.trainable_variables[0].assign(model.trainable_variables[0] * math.nan)

    at(monkeypatch, poison, method="on_train_batch_begin", epoch=1, step=4, times=2)
    with pytest.raises(
        InputError, match=r"diverged in epoch 2, step 5 \(the loss .* index \d+, .* and 8 more"
    ) as caught:
        train(Recipe.from_dict(settings), progress=False)
    assert "--resume" in str(caught.value)
    said = capsys.readouterr().out
    assert "the loss is not a number in epoch 2, step 5: back to epoch 2 after step 0, and on with 0.5 times" in said
    assert rates[1] == pytest.approx(rates[0] / 2)
    state, arrays = Checkpoints(tmp_path / "r" / "checkpoints").newest()
    assert (state.epoch, state.step, state.diverged) == (1, 0, [[2, 5]])
    assert all(np.isfinite(array).all() for array in arrays.values())
    monkeypatch.undo()
    ended = train(Recipe.from_dict(settings), resume=True, progress=False)
    assert ended.history["back_offs"] == [0, 1, 1]
    assert len((ended.folder / "history.csv").read_text().splitlines()) == 4


@pytest.fixture
def photos(tmp_path):
    """Two classes of 24 PNG files each."""
    rng = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 190)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(24):
            pixels = (level + rng.integers(-40, 40, (16, 16, 3))).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index:02d}.png")
    return tmp_path / "photos"


def test_an_image_lost_on_the_way_is_named_and_put_back(photos, tiny, tmp_path, monkeypatch):
    settings = tiny(tmp_path / "r", **{"data.spec": str(photos), "train.epochs": 12, "data.skip_bad": True})
    settings["train"]["batch_size"] = 8
    splits = load(str(photos), val_fraction=0.15, test_fraction=0.15, seed=0, progress=False).splits
    losses = {"train": os.remove, "val": lambda path: Path(path).write_bytes(b"\x89PNG nothing more")}
    for split, lose in losses.items():
        path = splits[split].paths[3]
        content = Path(path).read_bytes()
        begun = last_state(tmp_path / "r" / "checkpoints") or State()
        with monkeypatch.context() as patch:
            at(
                patch,
                lambda model, path=path, lose=lose: lose(path),
                method="on_train_batch_end",
                epoch=begun.epoch + 1,
            )
            with pytest.raises(InputError, match="cannot be read any more") as caught:
                train(Recipe.from_dict(settings), resume=begun.epoch > 0, progress=False)
        assert path in str(caught.value)
        assert last_state(tmp_path / "r" / "checkpoints").epoch > begun.epoch
        Path(path).write_bytes(content)


def test_a_second_signal_stops_at_once():
    # Raised in this thread: one that is sent to the process may be handled a moment later, where nothing expects it.
    before = signal.getsignal(signal.SIGINT)
    with StopSignals() as signals:
        signal.raise_signal(signal.SIGINT)
        assert signals.received == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_signals_are_left_alone_outside_the_main_thread():
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: StopSignals().__enter__().received).result() is None
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

"""Several processes train as one: the same figures, and none of them waits for one that has gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from keras_vit.cli.main import main
from keras_vit.errors import InputError
from keras_vit.training import Recipe, load_run, train
from keras_vit.training.team import make_team

CHANGES = {"train.ema": 0.9, "train.epochs": 6, "train.monitor": "val_loss", "augment.flip": True}


@pytest.mark.parametrize(
    "config",
    ["{", "{}", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}', '{"cluster": 3}'],
)
def test_a_config_of_another_form_is_shown(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(InputError, match="TF_CONFIG has another form"):
        make_team()


def test_workers_have_to_be_named(monkeypatch, tiny, tmp_path):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InputError, match="set TF_CONFIG"):
        train(Recipe.from_dict(tiny(tmp_path / "run", **{"train.devices": "workers"})))
    alone = {"cluster": {"worker": ["127.0.0.1:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(alone))
    with pytest.raises(InputError, match="two workers or more"):
        make_team()


def start_workers(recipe: Path, out: Path, *flags: str, count: int = 2) -> list[subprocess.Popen]:
    """Processes on this host that train together; their output goes to files beside the run folder."""
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in held]
    for each in held:
        each.close()
    command = [sys.executable, "-m", "keras_vit", "train", "--recipe", str(recipe), "--out", str(out)]
    workers = []
    for rank in range(count):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
        with open(said(out, rank), "w") as log:
            workers.append(
                subprocess.Popen(
                    [*command, "--set", "train.devices=workers", *flags],
                    env=os.environ | {"TF_CONFIG": json.dumps(config)},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
    return workers


def said(out: Path, rank: int) -> Path:
    return out.with_name(f"{out.name}-{rank}.log")


def statuses(workers: list[subprocess.Popen]) -> list[int]:
    """Exit statuses; a process that hangs fails the test."""
    try:
        return [worker.wait(timeout=120) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()


@pytest.mark.slow
def test_two_workers_are_one_process_also_after_one_was_killed(tiny, tmp_path):
    settings = tiny(tmp_path / "one", **CHANGES)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(settings))
    assert main(["train", "--recipe", str(recipe), "--set", "train.epochs=6"]) == 0
    wanted = load_run(tmp_path / "one").history

    def assert_same(out):
        history = load_run(out).history
        for name in ("loss", "top1", "val_loss", "val_top1", "gradient_norm"):
            np.testing.assert_allclose(history[name], wanted[name], rtol=1e-4, atol=1e-4, err_msg=name)

    assert statuses(start_workers(recipe, tmp_path / "two")) == [0, 0]
    assert_same(tmp_path / "two")

    out = tmp_path / "killed"
    workers = start_workers(recipe, out)
    began = time.monotonic()
    while not list(out.glob("checkpoints/epoch-0002*.json")):
        assert workers[1].poll() is None
        assert time.monotonic() - began < 120
        time.sleep(0.05)
    workers[1].send_signal(signal.SIGKILL)
    assert statuses(workers) == [3, -signal.SIGKILL]
    assert "Another worker of this run has gone" in said(out, 0).read_text()
    assert statuses(start_workers(recipe, out, "--resume")) == [0, 0]
    assert_same(out)


@pytest.mark.slow
def test_a_signal_to_one_worker_stops_and_saves_all(tiny, tmp_path):
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "stopped"
    recipe.write_text(yaml.safe_dump(tiny(out, **CHANGES | {"train.epochs": 500})))
    workers = start_workers(recipe, out)
    while not list(out.glob("checkpoints/epoch-0001*.json")):
        assert workers[1].poll() is None
        time.sleep(0.05)
    workers[1].send_signal(signal.SIGTERM)
    assert statuses(workers) == [3, 3]
    assert "SIGTERM stopped the run" in said(out, 1).read_text()
    assert "Another worker stopped the run" in said(out, 0).read_text()

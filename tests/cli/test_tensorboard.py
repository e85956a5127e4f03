"""`keras-vit tensorboard` serves what runs have logged, until it is interrupted."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
import tensorflow as tf

from keras_vit.cli.main import main


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two run folders with one curve each."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("one", "two"):
        with tf.summary.create_file_writer(str(folder / name / "logs" / "train")).as_default():
            tf.summary.scalar("epoch_loss", 1.0, step=0)
    return folder


@pytest.fixture
def serve():
    """Starts the command on a free port and gives the process and the names of the runs on its page."""
    processes = []

    def start(*words):
        command = [sys.executable, "-m", "keras_vit", "tensorboard", *map(str, words), "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        processes.append(process)
        url = re.match(r"TensorBoard: (http://\S+) ", process.stdout.readline())[1]
        tags = {}
        for _ in range(100):  # it reads in the background
            tags = json.load(urllib.request.urlopen(f"{url}data/plugin/scalars/tags", timeout=30))
            if tags:
                break
        return process, tags

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_one_run_and_the_end(runs, serve):
    process, tags = serve(runs / "one")
    assert {name: list(of) for name, of in tags.items()} == {"logs/train": ["epoch_loss"]}
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


def test_several_runs_by_their_names(runs, serve):
    _, tags = serve(runs / "one", runs / "two")
    assert set(tags) == {"one/logs/train", "two/logs/train"}


def test_a_folder_of_runs(runs, serve):
    _, tags = serve(runs)
    assert set(tags) == {"one/logs/train", "two/logs/train"}


def test_refusals(runs, tmp_path, capsys):
    def refused(*words):
        assert main(["tensorboard", *map(str, words)]) == 2
        return capsys.readouterr().err

    assert "There is no folder nowhere" in refused("nowhere")
    assert "holds nothing for TensorBoard" in refused(tmp_path)
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on localhost, port {port} (Address already in use)" in refused(runs, "--port", port)
    assert "cannot listen on 203.0.113.1" in refused(runs, "--host", "203.0.113.1", "--port", "0")
    assert "port 70000" in refused(runs, "--port", "70000")

"""`keras-vit demo` from its first line to its end."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
from demo_helpers import Client, encode

from keras_vit.cli.main import main


@pytest.fixture
def serve():
    """Starts the command on a free port; gives the process and what a client needs to know of its server."""
    processes = []

    def start(*words):
        command = [sys.executable, "-m", "keras_vit", "demo", *map(str, words), "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        port = re.match(r"Demo: http://[\w.]+:(\d+)/ \(Ctrl-C ends it\)", process.stdout.readline())[1]
        return process, SimpleNamespace(server_address=("127.0.0.1", int(port)))

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_it_serves_and_ends_on_sigterm(own, photo, serve):
    process, server = serve(own / "export" / "model.tflite", "--host", "0.0.0.0", "--method", "rollout")
    client = Client(server)
    assert '<option value="rollout" selected>' in client.page
    assert client.post("/answer", encode(photo, "JPEG"))[1]["agreement"].startswith("model.keras agrees")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    said = process.stderr.read()
    assert "Everybody who can reach 0.0.0.0 can open the page" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_it_ends_on_ctrl_c(own, serve):
    process, _ = serve(own)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert "Everybody" not in process.stderr.read()


def test_refusals(own, tmp_path, capsys):
    def refused(*words):
        assert main(["demo", *map(str, words)]) == 2
        return capsys.readouterr().err

    assert "no run folder" in refused(tmp_path, "--port", 0)
    assert "There is no exported file" in refused(tmp_path / "none.tflite", "--port", 0)
    assert "There is no method 'relevnce': did you mean 'relevance'" in refused(
        own, "--port", 0, "--method", "relevnce"
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1, port {port} (Address already in use)" in refused(own, "--port", port)
    assert "cannot listen on 203.0.113.1" in refused(own, "--host", "203.0.113.1", "--port", 0)

"""Requests that come slowly, in part, in crowds, or from those who have gone: the demo goes on for everybody else."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest
from demo_helpers import Client, raw

from keras_vit.demo import Server


@pytest.fixture
def hasty(demo):
    server = Server(max_megabytes=1, patience=0.6)
    server.start(demo)
    yield server
    server.stop()


def test_half_a_request(hasty, content):
    client = Client(hasty)
    head = f"POST /answer HTTP/1.1\r\nHost: localhost\r\nX-Demo-Token: {client.token}\r\n"
    start = time.monotonic()
    answer = raw(hasty, f"{head}Content-Length: 5000\r\n\r\nabc".encode())
    assert b" 408 " in answer.splitlines()[0]
    assert b"did not come as a whole" in answer
    raw(hasty, b"GET / HTTP/1.1\r\nHost: local")
    raw(hasty, b"")
    assert time.monotonic() - start < 12


def test_a_trickle(hasty):
    """Each byte comes in time, the request does not."""
    start = time.monotonic()
    with socket.create_connection(hasty.server_address[:2], timeout=0.1) as connection:
        said = None
        while said != b"" and time.monotonic() - start < 10:
            with contextlib.suppress(TimeoutError, ConnectionError):
                connection.sendall(b"X")
                said = connection.recv(1 << 16)
    assert said == b""
    assert time.monotonic() - start < 10


def test_others_are_served_meanwhile(server, client, content):
    waiting = [socket.create_connection(server.server_address[:2]) for _ in range(10)]
    try:
        for connection in waiting:
            connection.sendall(b"POST /answer HTTP/1.1\r\n")
        assert client.post("/answer", content)[0] == 200
    finally:
        for connection in waiting:
            connection.close()


def test_too_many_are_turned_away_and_it_goes_on(server, client, content):
    waiting = [socket.create_connection(server.server_address[:2]) for _ in range(50)]
    time.sleep(0.5)
    try:
        assert sum(connection.recv(1, socket.MSG_DONTWAIT) == b"" for connection in waiting[-5:]) == 5
    finally:
        for connection in waiting:
            connection.close()
    time.sleep(0.2)
    assert client.post("/answer", content)[0] == 200


def test_who_has_gone_is_not_answered(server, client, demo, content, monkeypatch):
    asked = []
    monkeypatch.setattr(demo, "answer", lambda *args: asked.append(args) or {})
    head = f"POST /answer HTTP/1.1\r\nHost: localhost\r\nX-Demo-Token: {client.token}\r\n"
    with demo.lock, socket.create_connection(server.server_address[:2]) as connection:
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        time.sleep(0.3)
    assert client.post("/answer", content) == (200, {})
    assert len(asked) == 1

"""Downloads over connections that break off, servers that lie or change, redirects, and kills."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bad_server import CONTENT, GOOD, OTHER, Answer, files

from keras_vit.errors import Failure, InputError
from keras_vit.weights import download, transfer
from keras_vit.weights.cache import Entry
from keras_vit.weights.fetch import fetch

pytestmark = pytest.mark.usefixtures("home")
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class TestBrokenConnection:
    def test_resumes(self, left_over):
        with files(Answer(CONTENT, sent=100_000), Answer(CONTENT, sent=50_000), GOOD) as site:
            assert fetch(site.url()).read_bytes() == CONTENT
            assert site.ranges == [None, "bytes=100000-", "bytes=150000-"]
            assert site.requests[1]["If-Range"] == '"one"'
        assert left_over() == ["model.safetensors", "model.safetensors.json"]

    def test_resumes_chunks(self):
        with files(Answer(CONTENT, sent=100_000, chunked=True), GOOD) as site:
            assert fetch(site.url()).read_bytes() == CONTENT
            assert site.ranges == [None, "bytes=100000-"]

    def test_gives_up_and_the_next_call_resumes(self, left_over):
        # Answers without a body bring nothing, so they count; the last one repeats.
        with files(Answer(CONTENT, sent=100_000), Answer(CONTENT, sent=0)) as site:
            with pytest.raises(Failure, match="the first 100000 bytes are kept and the next call resumes there"):
                fetch(site.url())
            assert len(site.requests) == 1 + download.TRIES
            assert left_over() == ["model.safetensors.partial", "model.safetensors.partial.json"]
            site.answers = [GOOD]
            assert fetch(site.url()).read_bytes() == CONTENT
            assert site.ranges[-1] == "bytes=100000-"

    def test_a_connection_that_always_brings_something_is_not_given_up(self):
        step = len(CONTENT) // 10
        with files(*[Answer(CONTENT, sent=step)] * 9, GOOD) as site:
            assert fetch(site.url()).read_bytes() == CONTENT
            assert len(site.requests) == 10

    def test_a_silent_server(self, monkeypatch):
        monkeypatch.setattr(transfer, "TIMEOUT_S", 0.3)
        with files(Answer(CONTENT, slow_s=1.0), GOOD) as site:
            assert fetch(site.url()).read_bytes() == CONTENT
            assert site.ranges == [None, "bytes=30000-"]

    def test_range_ignored(self):
        with files(Answer(CONTENT, sent=100_000), Answer(CONTENT, ranges=False)) as site:
            assert fetch(site.url()).read_bytes() == CONTENT

    @pytest.mark.parametrize("etag", [None, 'W/"weak"'])
    def test_nothing_is_joined_without_a_strong_validator(self, etag):
        with files(Answer(CONTENT, etag, sent=100_000), Answer(CONTENT, etag)) as site:
            assert fetch(site.url()).read_bytes() == CONTENT
            assert site.ranges == [None, None]

    @pytest.mark.parametrize("if_range", [True, False])
    def test_changed_between_tries(self, if_range):
        """Also by a server that honours Range and takes no notice of If-Range."""
        with files(Answer(CONTENT, sent=100_000), Answer(OTHER, '"two"', if_range=if_range)) as site:
            assert fetch(site.url()).read_bytes() == OTHER

    def test_shorter_between_tries(self):
        with files(Answer(CONTENT, sent=100_000), Answer(OTHER[:50_000], if_range=False)) as site:
            assert fetch(site.url()).read_bytes() == OTHER[:50_000]

    def test_a_rotten_part_is_found_by_the_checksum(self, home):
        with files(Answer(CONTENT, sent=100_000), Answer(CONTENT, sent=0)) as site:
            with pytest.raises(Failure, match="resumes"):
                fetch(site.url())
            part = Entry.of(site.url()).partial
            part.write_bytes(bytes(100_000))
            site.answers = [GOOD]
            assert fetch(f"{site.url()}#sha256={DIGEST}").read_bytes() == CONTENT

    def test_a_complete_part_needs_no_server(self):
        with files(GOOD) as site:
            entry = Entry.of(site.url())
            entry.begin('"one"', len(CONTENT))
            entry.partial.write_bytes(CONTENT)
            assert fetch(site.url()).read_bytes() == CONTENT
            assert site.requests == []

    def test_500_then_well(self):
        with files(Answer(status=500), Answer(status=503), GOOD) as site:
            assert fetch(site.url()).read_bytes() == CONTENT

    def test_500_for_good(self, left_over):
        with files(Answer(status=500)) as site, pytest.raises(Failure, match="server answers 500"):
            fetch(site.url())
        assert left_over() == []

    @pytest.mark.parametrize("ranges", [True, False])
    def test_fewer_bytes_than_promised(self, ranges):
        with files(Answer(CONTENT, claim=len(CONTENT) + 1000, ranges=ranges)) as site:
            with pytest.raises(Failure, match=r"300000 of 301000 bytes.*kept"):
                fetch(site.url())
            assert len(site.requests) < 10

    def test_more_bytes_than_promised(self, left_over):
        """The end beyond the promised length is never read, which the checksum brings to light."""
        with files(Answer(CONTENT, claim=1000)) as site, pytest.raises(Failure, match=f"and not {DIGEST}"):
            fetch(f"{site.url()}#sha256={DIGEST}")
        assert left_over() == []


class TestRedirects:
    def test_followed_with_its_range(self):
        with files(Answer(CONTENT, sent=100_000), GOOD) as target, files() as site:
            site.answers = [Answer(status=302, location=target.url("/other/name.bin"))]
            path = fetch(site.url())
            assert path.read_bytes() == CONTENT
            assert path.name == "model.safetensors"
            assert target.ranges == [None, "bytes=100000-"]

    def test_loop(self):
        circle = Answer(status=302, location="/weights/model.safetensors")
        with files(circle) as site, pytest.raises(Failure, match="redirected without an end"):
            fetch(site.url())

    @pytest.mark.parametrize("target", ["ftp://127.0.0.1/x", "file:///etc/passwd"])
    def test_other_protocol(self, target):
        with files(Answer(status=302, location=target)) as site, pytest.raises((InputError, Failure)):
            fetch(site.url())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """Key and self-signed certificate of 127.0.0.1."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-keyout", "key", "-out", "crt"], cwd=folder, check=True, capture_output=True)
    (folder / "both.pem").write_bytes((folder / "key").read_bytes() + (folder / "crt").read_bytes())
    return folder / "both.pem"


class TestTls:
    def test_unknown_certificate(self, certificate):
        with files(GOOD, certificate=certificate) as site:
            with pytest.raises(Failure, match=r"certificate behind .* cannot be verified .*SSL_CERT_FILE"):
                fetch(site.url())
            assert site.requests == []

    def test_known_certificate(self, certificate, monkeypatch):
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with files(Answer(CONTENT, sent=100_000), GOOD, certificate=certificate) as site:
            assert fetch(site.url()).read_bytes() == CONTENT
            assert site.ranges == [None, "bytes=100000-"]

    def test_no_redirect_to_http(self, certificate, monkeypatch):
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with files(GOOD) as plain, files(certificate=certificate) as site:
            site.answers = [Answer(status=302, location=plain.url())]
            with pytest.raises(InputError, match="not safe to follow"):
                fetch(site.url())
            assert plain.requests == []


FETCH = "import sys; from keras_vit.weights.fetch import fetch; print(fetch(sys.argv[1]))"


def in_another_process(url: str) -> subprocess.Popen:
    # The NumPy backend starts without TensorFlow, which fetching does not need.
    environment = os.environ | {"KERAS_BACKEND": "numpy"}
    command = [sys.executable, "-u", "-c", FETCH, url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)


class TestProcesses:
    def test_two_at_once_and_one_is_killed(self, left_over):
        """The second waits for the first; when the first is killed in the middle, the second takes its part over."""
        with files(Answer(CONTENT, slow_s=3.0), GOOD) as site:
            first = in_another_process(site.url())
            wait_for(lambda: Entry.of(site.url()).part().received > 0 or first.poll() is not None)
            second = in_another_process(site.url())
            wait_for(lambda: second.stdout.readline().startswith("Waiting for another process"))
            first.send_signal(signal.SIGKILL)
            assert second.wait(60) == 0
            assert first.wait(60) != 0
            assert len(site.requests) == 2
            assert site.ranges[1] is not None
        assert Entry.of(site.url()).file.read_bytes() == CONTENT
        assert left_over() == ["model.safetensors", "model.safetensors.json"]


def wait_for(condition) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)

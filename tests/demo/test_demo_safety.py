"""Whatever is sent to the demo, and by whomever: one sentence refuses it, no file is read or written."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import struct
import sys
import threading
import time
import zlib
from urllib.parse import quote

import numpy as np
import pytest
from demo_helpers import Client, encode, raw
from PIL import Image

from keras_vit.demo import Refused, Server
from keras_vit.demo.photo import read_photo
from keras_vit.errors import InputError


def refused(answer: tuple[int, dict], status: int, words: str) -> None:
    assert answer[0] == status
    assert set(answer[1]) == {"error"}
    assert words in answer[1]["error"]
    assert "Traceback" not in answer[1]["error"]
    assert len(answer[1]["error"].splitlines()) == 1


class TestWhoAsks:
    def test_another_host(self, client, server, content):
        """A name of somebody else's that was made to mean 127.0.0.1 (DNS rebinding)."""
        port = server.server_address[1]
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "192.168.1.5", "localhost.evil"):
            assert client.get("/", Host=host)[0] == 403
            refused(client.post("/answer", content, Host=host), 403, "is not this machine")
        for host in ("localhost", f"localhost:{port}", "127.0.0.1", f"[::1]:{port}", "LOCALHOST:80"):
            assert client.get("/", Host=host)[0] == 200
        for head in (b"", b"Host:\r\n", b"Host: [\r\n", b"Host: localhost\r\nHost: localhost\r\n"):
            assert b" 400 " in raw(server, b"GET / HTTP/1.1\r\n" + head + b"\r\n").splitlines()[0]

    def test_another_page(self, client, content):
        assert client.post("/answer", content)[0] == 200
        for path in ("/answer", "/look"):
            for token in ("", "guess", client.token[:-1], client.token + "x", "\xff"):
                refused(client.post(path, content, X_Demo_Token=token), 403, "load it again")
            refused(client.post(path, content, Sec_Fetch_Site="cross-site"), 403, "own page only")
            refused(client.post(path, content, Sec_Fetch_Site="same-site"), 403, "own page only")
        assert client.post("/answer", content, Sec_Fetch_Site="same-origin")[0] == 200

    def test_every_server_has_its_own_token(self, client, demo):
        other = Server()
        other.start(demo)
        try:
            assert Client(other).token != client.token
            assert len(client.token) >= 40
        finally:
            other.stop()

    def test_no_preflight_is_granted(self, client):
        status, headers, _ = client.get(
            "/answer", "OPTIONS", Origin="http://evil.example", Access_Control_Request_Method="POST"
        )
        assert status == 405
        assert not [name for name in headers if name.lower().startswith("access-control")]

    def test_on_other_addresses_names_are_not_looked_at(self, demo):
        server = Server("0.0.0.0")
        server.start(demo)
        try:
            client = Client(server)
            assert client.get("/", Host="my-laptop.local")[0] == 200
            refused(client.post("/answer", X_Demo_Token="guess"), 403, "load it again")
        finally:
            server.stop()


class TestPathsAndMethods:
    @pytest.mark.parametrize(
        "path",
        [
            "/../../etc/passwd",
            "//etc/passwd",
            "/etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/..%2f..%2fetc%2fpasswd",
            "/..\\..\\etc\\passwd",
            "/answer/../../etc/passwd",
            "/recipe.yaml",
            "/export/model.tflite",
            "/model.keras",
            "/favicon.ico",
            "/.",
            "/index.html",
            "file:///etc/passwd",
            "http://evil.example/",
            "?",
            "*",
        ],
    )
    def test_there_are_no_files(self, path, server, client):
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        head, _, body = raw(server, request).partition(b"\r\n\r\n")
        assert b" 404 " in head.splitlines()[0]
        assert json.loads(body) == {"error": "There is no such page."}

    @pytest.mark.parametrize("name", ["/etc/passwd", "../recipe.yaml", "../../own/model.keras", "export/model.tflite"])
    def test_no_path_from_outside_is_opened(self, name, client, content, own):
        for given in (name, str(own / "model.keras")):
            refused(client.post(f"/answer?file={quote(given)}", content), 400, "There is no file")
            refused(client.post(f"/look?method={quote(given)}", content), 400, "There is no method")

    def test_only_what_a_path_is_for(self, client):
        for path, method in (("/answer", "GET"), ("/look", "HEAD"), ("/", "POST"), ("/", "PUT"), ("/answer", "DELETE")):
            status, headers, body = client.get(path, method)
            assert status == 405
            assert headers["Allow"]
            assert method == "HEAD" or "error" in json.loads(body)
        assert client.get("/", "BREW")[0] == 405

    def test_requests_that_are_none(self, server):
        for request in (b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\r\n\r\n"):
            answer = raw(server, request)
            assert b"Traceback" not in answer
            assert b"error" in answer
        assert (
            b" 414 " in raw(server, b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n").splitlines()[0]
        )
        many = b"".join(b"X-%d: 1\r\n" % index for index in range(200))
        assert b" 431 " in raw(server, b"GET / HTTP/1.1\r\n" + many + b"\r\n").splitlines()[0]
        fields = "&".join(f"a{i}=1" for i in range(50)).encode()
        assert b" 400 " in raw(server, b"GET /?" + fields + b" HTTP/1.1\r\nHost: localhost\r\n\r\n").splitlines()[0]


class TestHeaders:
    def test_of_every_answer(self, client, content):
        page, missing = client.get("/"), client.get("/no")
        said = client.get("/answer", "POST", content, X_Demo_Token=client.token)
        forbidden = client.get("/answer", "POST", content)
        assert [answer[0] for answer in (page, missing, said, forbidden)] == [200, 404, 200, 403]
        for _, headers, _ in (page, missing, said, forbidden):
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cache-Control"] == "no-store"
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["Server"] == "keras-vit"
            assert "Set-Cookie" not in headers

    def test_the_page_may_run_its_own_script_only(self, client):
        _, headers, body = client.get("/")
        rules = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
        assert rules["default-src"] == "'none'"
        assert rules["connect-src"] == "'self'"
        for tag in ("script", "style"):
            [inside] = re.findall(rf"<{tag}>(.*?)</{tag}>", body.decode(), re.S)
            digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
            assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
        assert not re.search(r"(src|href)=\"(?!data:,)|https?://|url\(|@import| on\w+=| style=", body.decode())

    def test_head(self, client):
        status, headers, body = client.get("/", "HEAD")
        assert (status, body) == (200, b"")
        assert int(headers["Content-Length"]) > 5000


class TestSizes:
    def test_megabytes(self, client, server):
        """Refused by its length before it is read, and the refusal arrives though all is sent."""
        refused(client.post("/answer", bytes(1_000_001)), 413, "larger than 1 MB")
        refused(client.post("/answer", bytes(8_000_000)), 413, "larger than 1 MB")
        refused(client.post("/answer", bytes(1_000_000)), 415, "cannot be read as a photo")

    def test_lengths_that_are_none(self, client, server, content):
        head = f"POST /answer HTTP/1.1\r\nHost: localhost\r\nX-Demo-Token: {client.token}\r\n".encode()
        for length, status in (
            (b"", b"411"),
            (b"Content-Length: -1\r\n", b"400"),
            (b"Content-Length: 1e3\r\n", b"400"),
            (b"Content-Length: 5\r\nContent-Length: 6\r\n", b"400"),
            (b"Content-Length: 0\r\n", b"400"),
            (b"Content-Length: " + b"9" * 5000 + b"\r\n", b"413"),
            (b"Transfer-Encoding: chunked\r\n", b"411"),
            (b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"411"),
        ):
            answer = raw(server, head + length + b"\r\nabcde")
            assert answer.split()[1] == status, length
            assert b"error" in answer

    def test_pixels_are_counted_before_anything_is_decoded(self, client):
        """Files of a few bytes that promise gigabytes."""

        def png(width, height):
            def chunk(kind, data):
                return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

            head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")

        for sides in ((1000, 1000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)):
            start = time.monotonic()
            refused(client.post("/answer", png(*sides)), 413, "0.25 million are allowed")
            assert time.monotonic() - start < 5
        refused(client.post("/answer", png(0, 0)), 415, "cannot be read as a photo")
        refused(client.post("/answer", png(2000, 10)), 422, "longer than 32 times")
        bomb = encode(Image.new("1", (8000, 8000)), "PNG")
        assert len(bomb) < 20_000
        refused(client.post("/answer", bomb), 413, "64 million pixels")
        large = encode(Image.new("RGB", (600, 500)), "JPEG")
        refused(client.post("/look", large), 413, "0 million pixels")

    def test_a_moving_picture_with_huge_later_frames(self, client):
        """The first frame is small; those after it would fill the memory."""
        frames = [Image.new("P", (40, 30)), Image.effect_noise((40, 30), 60).quantize(8)]
        moving = bytearray(encode(frames[0], "GIF", save_all=True, append_images=frames[1:], disposal=2))
        place = moving.index(b"\x2c", moving.index(b"\x2c") + 10)
        assert struct.unpack_from("<HH", moving, place + 5) == (40, 30)
        moving[place + 5 : place + 9] = struct.pack("<HH", 60_000, 60_000)
        assert client.post("/answer", bytes(moving))[0] == 200


class TestDamage:
    def test_what_is_no_image(self, client):
        svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
        pdf, postscript, heic = (
            b"%PDF-1.7\n",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            b"\0\0\0\x18ftypheic",
        )
        tiff = encode(Image.new("RGB", (9, 9)), "TIFF")
        for content in (
            b"x",
            b"hello" * 99,
            svg,
            pdf,
            postscript,
            heic,
            tiff,
            b"\xff\xd8\xff",
            b"RIFF",
            b"BM",
            b"GIF89a",
        ):
            refused(client.post("/answer", content), 415, "give a whole JPEG, PNG, WebP, BMP or GIF file")

    @pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
    def test_what_is_not_whole(self, form, client, photo):
        noise = np.random.default_rng(0).integers(0, 255, photo.shape, "uint8")
        content = encode(Image.fromarray(noise), form)
        status, said = client.post("/answer", content[: len(content) // 2])
        # A WebP is read in one piece, before anybody knows what it is.
        assert (status, set(said)) == (415 if form == "WEBP" else 422, {"error"})

    @pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
    def test_bytes_that_were_changed(self, form, photo):
        """Decoded, or refused; nothing else comes of any damage."""
        content, rng = encode(photo, form), np.random.default_rng(0)
        for _ in range(60):
            damaged = bytearray(content)
            for place in rng.integers(0, len(content), rng.integers(1, 6)):
                damaged[place] = rng.integers(0, 256)
            with contextlib.suppress(Refused):
                found = read_photo(bytes(damaged), 250_000)
                assert found.dtype == np.uint8
                assert found.shape[2] == 3
                assert found.size <= 3 * 250_000

    def test_an_error_of_ours_is_one_sentence(self, client, demo, content, monkeypatch, capfd):
        def broken(*args):
            raise ZeroDivisionError("secret details")

        monkeypatch.setattr(demo, "answer", broken)
        refused(client.post("/answer", content), 500, "Something went wrong (ZeroDivisionError)")
        assert "secret" not in client.post("/answer", content)[1]["error"]
        assert "ZeroDivisionError: secret details" in capfd.readouterr().err


def test_nothing_is_kept(client, content, own, tmp_path, monkeypatch):
    """No file is opened for writing while photos are answered."""
    before = sorted((path, path.stat().st_mtime_ns) for path in own.rglob("*"))
    opened = []

    def audit(event, arguments):
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if watching.is_set() and (writes or event in ("os.mkdir", "os.rename", "tempfile.mkstemp")):
            opened.append((event, arguments))

    watching = threading.Event()
    sys.addaudithook(audit)
    watching.set()
    for path in ("/answer", "/look", "/answer?file=model.keras"):
        assert client.post(path, content)[0] == 200
    watching.clear()
    assert opened == []
    assert sorted((path, path.stat().st_mtime_ns) for path in own.rglob("*")) == before


def test_addresses(server):
    host, port = server.server_address[:2]
    assert server.url == f"http://127.0.0.1:{port}/"
    with pytest.raises(InputError, match=rf"cannot listen on {host}, port {port} \(Address already in use\)"):
        Server(host, port)
    with pytest.raises(InputError, match="port 70000"):
        Server(port=70000)
    with pytest.raises(InputError, match=r"cannot listen on 203\.0\.113\.1"):
        Server("203.0.113.1")
    with pytest.raises(InputError, match=r"cannot listen on no\.such\.host\.invalid"):
        Server("no.such.host.invalid")

"""A real file server on 127.0.0.1 that behaves as badly as asked."""

from __future__ import annotations

import contextlib
import re
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

CONTENT = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)


@dataclass(frozen=True)
class Answer:
    """How one request is answered.

    Attributes:
        content: the file.
        etag: None sends none.
        status: other than 200, no content is sent.
        location: of a redirect.
        sent: close the connection after so many bytes of the body.
        claim: the length of the file that is told, if not the true one.
        length: whether a length is told at all.
        chunked: send the body in chunks (which tells no length either).
        ranges: whether Range is honoured.
        if_range: whether If-Range is.
        slow_s: wait after each tenth of the body.
    """

    content: bytes = b""
    etag: str | None = '"one"'
    status: int = 200
    location: str | None = None
    sent: int | None = None
    claim: int | None = None
    length: bool = True
    chunked: bool = False
    ranges: bool = True
    if_range: bool = True
    slow_s: float = 0.0


@dataclass
class Site:
    """A running server. The first request gets the first answer, the last answer serves all later ones."""

    answers: list[Answer]
    address: str = ""
    requests: list[dict] = field(default_factory=list)

    def url(self, path: str = "/weights/model.safetensors") -> str:
        return self.address + path

    @property
    def ranges(self) -> list[str | None]:
        """The Range header of each request."""
        return [request.get("Range") for request in self.requests]


@contextlib.contextmanager
def running(handler: type[BaseHTTPRequestHandler], site, certificate: Path | None = None) -> Iterator[str]:
    """Serves in a thread, over TLS if there is a PEM file with key and certificate; gives the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        # A client that refuses the certificate is no news.
        server.handle_error = lambda *args: None
    server.daemon_threads = True
    server.site = site
    # The default poll of 0.5 s is what shutting down would wait for.
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


GOOD = Answer(CONTENT)


@contextlib.contextmanager
def files(*answers: Answer, certificate: Path | None = None) -> Iterator[Site]:
    """A file server."""
    site = Site(list(answers))
    with running(FileHandler, site, certificate) as site.address:
        yield site


class FileHandler(BaseHTTPRequestHandler):
    """Answers as the site's next `Answer` says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        site: Site = self.server.site
        answer = site.answers[min(len(site.requests), len(site.answers) - 1)]
        site.requests.append(dict(self.headers) | {"path": self.path})
        self.close_connection = True
        if answer.status != 200:
            self.send_response(answer.status)
            if answer.location:
                self.send_header("Location", answer.location)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        send_file(self, answer)

    def log_message(self, *args):
        """Nothing on the terminal."""


def send_file(handler: BaseHTTPRequestHandler, answer: Answer, headers: dict[str, str] | None = None) -> None:
    """The file or the rest of it, broken off, slow or of a wrong length as the answer says."""
    total = len(answer.content) if answer.claim is None else answer.claim
    wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    unchanged = not answer.if_range or handler.headers.get("If-Range", answer.etag) == answer.etag
    start = int(wanted[1]) if wanted and answer.ranges and unchanged else 0
    if start and start >= total:
        handler.send_response(416)
        handler.send_header("Content-Length", "0")
        return handler.end_headers()
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
    if answer.etag:
        handler.send_header("ETag", answer.etag)
    if answer.chunked:
        handler.send_header("Transfer-Encoding", "chunked")
    elif answer.length:
        handler.send_header("Content-Length", str(total - start))
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Connection", "close")
    handler.end_headers()
    body = answer.content[start : start + total - start][: answer.sent]
    step = max(len(body) // 10, 1) if answer.slow_s else max(len(body), 1)
    with contextlib.suppress(ConnectionError):
        for at in range(0, len(body), step):
            piece = body[at : at + step]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if answer.chunked else piece)
            time.sleep(answer.slow_s)
        if answer.chunked and answer.sent is None:
            handler.wfile.write(b"0\r\n\r\n")

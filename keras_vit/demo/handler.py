"""One request: what is asked, whether that is allowed, and the answer as a page or as JSON."""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from keras_vit.demo import guard
from keras_vit.demo.page import POLICY
from keras_vit.demo.refused import Refused
from keras_vit.errors import InputError

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer."""

METHODS = {"/": "GET, HEAD", "/answer": "POST", "/look": "POST"}
"""Path -> what may be done with it. There are no others, and none is a file's."""

MALFORMED = {
    HTTPStatus.METHOD_NOT_ALLOWED: "This can only be read (GET) or sent photos to (POST).",
    HTTPStatus.REQUEST_URI_TOO_LONG: "The address is too long.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The request has too many headers, or too long ones.",
}
"""What is said to requests that are none."""

LINGER = 2.0
"""Seconds for which a refused body is read all the same: closing sooner would take the refusal with it."""


class Handler(BaseHTTPRequestHandler):
    """Answers one request, and closes the connection."""

    def setup(self) -> None:
        """Nothing is waited for longer than the server has patience."""
        self.timeout = self.server.patience
        super().setup()

    def version_string(self) -> str:
        """The Server header, without versions."""
        return "keras-vit"

    def log_message(self, *args) -> None:
        """Nothing: the terminal is for errors."""

    def do_GET(self) -> None:
        """Answers, or says in one sentence why not."""
        try:
            self._respond()
        except Refused as refused:
            self._refuse(refused)
        except (ConnectionError, TimeoutError):
            raise
        except InputError as error:
            self._refuse(Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)))
        except MemoryError:
            self._refuse(Refused(HTTPStatus.SERVICE_UNAVAILABLE, "There is not enough memory for this photo."))
        except Exception as error:  # a thread must not end without an answer
            print(f"keras-vit: {type(error).__name__}: {error}", file=sys.stderr)
            sentence = f"Something went wrong ({type(error).__name__}); the terminal of keras-vit demo says more."
            self._refuse(Refused(HTTPStatus.INTERNAL_SERVER_ERROR, sentence))

    do_HEAD = do_POST = do_GET

    def _respond(self) -> None:
        if self.server.loopback:
            guard.check_host(self.headers)
        path, query = self._asked()
        if path not in METHODS:
            raise Refused(HTTPStatus.NOT_FOUND, "There is no such page.")
        if self.command not in METHODS[path]:
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, MALFORMED[HTTPStatus.METHOD_NOT_ALLOWED], Allow=METHODS[path])
        if path == "/":
            self.server.received(self.connection)
            self._send(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")
            return
        guard.check_sender(self.headers, self.server.token)
        content = self._body()
        demo = self.server.demo
        with demo.lock:
            if self._gone():
                return
            if path == "/answer":
                said = demo.answer(content, query.get("file"))
            else:
                said = demo.look(content, query.get("method"), query.get("wanted"))
        self._say(HTTPStatus.OK, said)

    def _asked(self) -> tuple[str, dict[str, str]]:
        try:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query, max_num_fields=8)
        except ValueError:
            raise Refused(HTTPStatus.BAD_REQUEST, "The address cannot be read.") from None
        # What names a host, or a file, is no path of this server.
        path = "" if parts.scheme or parts.netloc else parts.path
        return path, {name: values[-1] for name, values in query.items()}

    def _body(self) -> bytes:
        length = guard.body_length(self.headers, self.server.max_bytes)
        try:
            content = self.rfile.read(length)
        except TimeoutError:
            content = b""
        if len(content) < length:
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, "The photo did not come as a whole: send it again.")
        self.server.received(self.connection)
        return content

    def _gone(self) -> bool:
        """Whether nobody waits for the answer any more, as when another file was chosen meanwhile."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What Python's own reader of requests refuses."""
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        allowed = {"Allow": "GET, HEAD, POST"} if status == HTTPStatus.METHOD_NOT_ALLOWED else {}
        self._refuse(Refused(status, MALFORMED.get(status, "The request cannot be read."), **allowed))

    def _refuse(self, refused: Refused) -> None:
        self._say(refused.status, {"error": str(refused)}, **refused.headers)
        self.close_connection = True
        until = time.monotonic() + LINGER
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(LINGER)
            while time.monotonic() < until and self.connection.recv(1 << 16):
                pass

    def _say(self, status: HTTPStatus, said: dict, **headers: str) -> None:
        self._send(status, json.dumps(said).encode(), "application/json", **headers)

    def _send(self, status: HTTPStatus, content: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        sized = {"Content-Type": kind, "Content-Length": str(len(content))}
        for name, value in (HEADERS | sized | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

"""The server: which address it listens on, how many it talks to and how long it waits for them."""

from __future__ import annotations

import secrets
import socket
import socketserver
import sys
import threading
import time
from contextlib import suppress
from http.server import ThreadingHTTPServer

from keras_vit.demo.demo import Demo
from keras_vit.demo.guard import is_loopback
from keras_vit.demo.handler import Handler
from keras_vit.demo.page import page
from keras_vit.errors import InputError

MEGABYTES = 20.0
CONNECTIONS = 32
"""So many are served at once; others are closed."""
PATIENCE = 60.0
"""Seconds in which a request must have come as a whole: a phone sends a photo in a few."""
FAREWELL = 5.0
"""Seconds that the end waits for the photo that is worked on: a process that ends within TensorFlow may crash."""


class Server(ThreadingHTTPServer):
    """Serves a demo's page and answers what it asks. It listens from the beginning, and answers from `start` on.

    Args:
        host: name or address to listen on. On one that means this machine only, requests for other names are refused.
        port: 0 takes any that is free.
        max_megabytes: larger photos are refused before they are read.
        patience: seconds in which a request must have come as a whole.

    Attributes:
        token: what requests of its own page carry.
        max_bytes: of a photo.
        loopback: whether it listens to this machine only.

    Raises:
        InputError: it cannot listen there, or a limit is not above 0.
    """

    daemon_threads = True
    request_queue_size = CONNECTIONS

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        max_megabytes: float = MEGABYTES,
        patience: float = PATIENCE,
    ):
        if not max_megabytes > 0:
            raise InputError(f"--max-megabytes is above 0, not {max_megabytes}.")
        self.host, self.max_bytes, self.patience = host, round(max_megabytes * 1e6), patience
        self.token = secrets.token_urlsafe(32)
        self._open: dict[socket.socket, float] = {}
        self._counting = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"The demo cannot listen on {host}, port {port} ({reason}): give others with --host and --port; port 0 "
                "is any that is free."
            ) from None
        self.loopback = is_loopback(self.server_address[0])

    def server_bind(self) -> None:
        """Without asking a name server what this machine is called, which may take long."""
        socketserver.TCPServer.server_bind(self)

    @property
    def url(self) -> str:
        """Where the page is."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.server_address[1]}/"

    def start(self, demo: Demo) -> None:
        """Answers from now on, in threads of its own."""
        self.demo, self.page = demo, page(demo, token=self.token, max_bytes=self.max_bytes, local=self.loopback)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def stop(self) -> None:
        """Listens no longer, and waits a little for the photo that is worked on."""
        self.shutdown()
        self.server_close()
        if self.demo.lock.acquire(timeout=FAREWELL):
            self.demo.lock.release()

    def process_request(self, request, client_address) -> None:
        """Takes a connection, and notes until when its request must have come."""
        with self._counting:
            full = len(self._open) >= CONNECTIONS
            if not full:
                self._open[request] = time.monotonic() + self.patience
        if full:
            super().shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def received(self, request) -> None:
        """A request has come as a whole: nobody waits for it any more."""
        with self._counting:
            self._open[request] = float("inf")

    def service_actions(self) -> None:
        """Several times a second: ends the reading of what has not come in time, however slowly it trickles."""
        with self._counting:
            late = [request for request, until in self._open.items() if until < time.monotonic()]
        for request in late:
            with suppress(OSError):
                request.shutdown(socket.SHUT_RD)

    def shutdown_request(self, request) -> None:
        """Forgets a connection that has ended."""
        with self._counting:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request, client_address) -> None:
        """Says on the terminal, in one line, what a thread ended with; nothing of those that just went away."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            print(f"keras-vit: {type(error).__name__}: {error}", file=sys.stderr)

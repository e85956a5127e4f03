"""A browser's requests by hand, and image files."""

from __future__ import annotations

import http.client
import io
import json
import re
import socket

import numpy as np
from PIL import Image

from keras_vit.demo import Server


class Client:
    """What a browser does: loads the page, and sends photos with the token that it holds."""

    def __init__(self, server: Server):
        self.server = server
        self.page = self.get("/")[2].decode()
        self.token = re.search(r'data-token="([^"]+)"', self.page)[1]

    def get(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str):
        """Status, headers and body of an answer."""
        connection = http.client.HTTPConnection(*self.server.server_address[:2], timeout=60)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def post(self, path: str, body: bytes = b"x", **headers: str) -> tuple[int, dict]:
        """Status and JSON of an answer."""
        status, told, content = self.get(path, "POST", body, **{"X_Demo_Token": self.token, **headers})
        assert told["Content-Type"] == "application/json"
        return status, json.loads(content)


def encode(image: Image.Image | np.ndarray, form: str, **options) -> bytes:
    """An image file's bytes."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, form, **options)
    return buffer.getvalue()


def raw(server, request: bytes, *, wait: float = 20.0) -> bytes:
    """What the server sends to these very bytes."""
    with socket.create_connection(server.server_address[:2], timeout=wait) as connection:
        connection.sendall(request)
        parts = []
        while part := connection.recv(1 << 16):
            parts.append(part)
        return b"".join(parts)

"""Which requests are answered at all: those that this page itself sends from a browser on this machine.

Any page that is open in the same browser can send requests to a local server. It cannot read this page, and so does not
know its token; and a name of its own that it has made to mean 127.0.0.1 (DNS rebinding) shows in the Host header.
"""

from __future__ import annotations

import hmac
import ipaddress
from email.message import Message
from http import HTTPStatus
from urllib.parse import urlsplit

from keras_vit.demo.refused import Refused

TOKEN = "X-Demo-Token"
SAME_SITE = ("same-origin", "none")
"""What a browser says of requests by the page itself, and by a person who types the address."""


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_host(headers: Message) -> None:
    """For a server that listens to this machine only: whether it is asked for by a name that means this machine.

    Raises:
        Refused: another name, several, or none.
    """
    given = headers.get_all("Host", [])
    try:
        host = urlsplit(f"//{given[0]}").hostname if len(given) == 1 else None
    except ValueError:
        host = None
    if not host:
        raise Refused(HTTPStatus.BAD_REQUEST, "The request does not say which host it is for.")
    if not is_loopback(host):
        raise Refused(
            HTTPStatus.FORBIDDEN, f"{host!r:.80} is not this machine: open the address that keras-vit demo has printed."
        )


def check_sender(headers: Message, token: str) -> None:
    """Whether a request comes from the page that the server itself has sent.

    Raises:
        Refused: another page sent it, or a page of a server that has ended.
    """
    if headers.get("Sec-Fetch-Site", "none") not in SAME_SITE:
        raise Refused(HTTPStatus.FORBIDDEN, "Photos are taken from the demo's own page only.")
    # Headers come as Latin-1, which a comparison in constant time wants as bytes.
    given = headers.get(TOKEN, "").encode("latin-1", "replace")
    if not hmac.compare_digest(given, token.encode()):
        raise Refused(HTTPStatus.FORBIDDEN, "The page is not of this demo, or of an earlier one: load it again.")


def body_length(headers: Message, most: int) -> int:
    """Bytes of the body, as the request promises them.

    Args:
        headers: of the request.
        most: bytes that are allowed.

    Raises:
        Refused: no promise, a contradictory one, nothing, or too much.
    """
    given = set(headers.get_all("Content-Length", []))
    if headers.get("Transfer-Encoding") or not given:
        raise Refused(HTTPStatus.LENGTH_REQUIRED, "The request does not say how long the photo is.")
    text = given.pop()
    if given or not (text.isascii() and text.isdecimal()):
        raise Refused(HTTPStatus.BAD_REQUEST, "The request does not say rightly how long the photo is.")
    # Of thousands of digits Python makes no number.
    if len(text) > 18 or int(text) > most:
        raise Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The photo is larger than {most / 1e6:g} MB: make it smaller, or start the demo with a larger "
            "--max-megabytes.",
        )
    if int(text) == 0:
        raise Refused(HTTPStatus.BAD_REQUEST, "The photo is an empty file.")
    return int(text)

"""One HTTP connection that fetches a file, or the rest of it."""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from keras_vit.errors import Failure, InputError
from keras_vit.version import __version__
from keras_vit.weights.cache import Entry, Part, cache_folder, check_space

if TYPE_CHECKING:
    from rich.progress import Progress

TIMEOUT_S = 30.0
"""How long a server may be silent."""

_CHUNK = 1 << 20
_TEMPORARY = (408, 425, 429)


class BrokenOff(Exception):
    """The connection broke; another try may succeed."""


def transfer(entry: Entry, progress: Progress) -> None:
    """Continues the part of an entry if the server still has the same file, else starts it anew.

    The server is asked for the rest only `If-Range` its file has not changed (RFC 9110, 13.1.5 and 14). From a server
    that tells neither a length nor chunks, a file that breaks off cannot be told from a whole one but by its checksum.

    Args:
        entry: its part is complete when this returns.
        progress: with one task, which is moved on.

    Raises:
        BrokenOff: what came is kept, another try may bring the rest.
        InputError: no such file, a redirect to an unsafe place, or no free space.
        Failure: a redirect without an end, or a certificate that cannot be verified.
    """
    part = entry.part()
    if part.size is not None and part.received == part.size:
        return
    with _open(entry, part) as response:
        start, size = _span(response, part, entry)
        if size is not None:
            check_space(cache_folder(), size - start, entry.label)
        if start == 0:
            entry.begin(_validator(response.headers), size)
        task = progress.task_ids[0]
        progress.reset(task, total=size, completed=start)
        with open(entry.partial, "ab") as file:
            for chunk in _chunks(response):
                file.write(chunk)
                progress.update(task, advance=len(chunk))
    received = entry.partial.stat().st_size
    if size is not None and received != size:
        raise BrokenOff(f"the connection broke off after {received} of {size} bytes")


def _open(entry: Entry, part: Part) -> http.client.HTTPResponse:
    headers = {"User-Agent": f"keras_vit/{__version__}", "Accept-Encoding": "identity"}
    if part.received:
        headers |= {"Range": f"bytes={part.received}-", "If-Range": part.validator}
    try:
        opener = urllib.request.build_opener(_SafeRedirects)
        return opener.open(urllib.request.Request(entry.url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(entry, error) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise Failure(
                f"The certificate behind {entry.label} cannot be verified ({reason.verify_message}): check the address "
                "and the clock, or set SSL_CERT_FILE to your certificates."
            ) from error
        raise BrokenOff(str(reason) or type(reason).__name__) from error


def _refusal(entry: Entry, error: urllib.error.HTTPError) -> Exception:
    """What an answer other than success means."""
    answer = " ".join(f"{error.code} {error.reason}".split())
    if error.code == 416:
        entry.discard()
        return BrokenOff("the server does not have the rest of the file")
    if error.code >= 500 or error.code in _TEMPORARY:
        return BrokenOff(f"the server answers {answer}")
    if error.code < 400:
        return Failure(f"{entry.label} is redirected without an end ({error.code}): check the address.")
    return InputError(
        f"{entry.label} cannot be fetched, the server answers {answer}: check the address; if it needs a login, "
        "download it in a browser and give the path of the file."
    )


def _span(response: http.client.HTTPResponse, part: Part, entry: Entry) -> tuple[int, int | None]:
    """The offset at which an answer begins, and the size of the whole file if the server says it."""
    if response.status != 206:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    # Some servers honour Range and ignore If-Range, so what came is compared too.
    same = _validator(response.headers) in (None, part.validator)
    if not (match and same and int(match[1]) == part.received and int(match[2]) == (part.size or int(match[2]))):
        entry.discard()
        raise BrokenOff("the file changed on the server, or another part of it was sent than was asked for")
    return int(match[1]), int(match[2])


def _validator(headers: Message) -> str | None:
    """What tells two versions of a file apart. A weak ETag (`W/"..."`) does not promise equal bytes."""
    etag = headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body, as it comes in: what a read that waits for a full chunk has got is lost when the connection breaks.

    Only reading is guarded, so that an error in writing is not taken for one of the network.
    """
    while True:
        try:
            chunk = response.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise BrokenOff(f"the connection broke off: {str(error) or type(error).__name__}") from error
        if not chunk:
            return
        yield chunk


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to http nor to another protocol."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if urlsplit(newurl).scheme not in ("https", urlsplit(req.full_url).scheme):
            fp.close()
            origin, target = (address.partition("?")[0] for address in (req.full_url, newurl))
            raise InputError(f"{origin} redirects to {target}, which is not safe to follow: give another address.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)

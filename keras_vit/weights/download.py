"""A file from a URL into the cache: checked, resumed where it broke off, and fetched once."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from keras_vit.errors import Failure, InputError
from keras_vit.weights.cache import Entry, offline, sha256, unwritable
from keras_vit.weights.transfer import BrokenOff, transfer

TRIES = 4
"""How many times in a row a connection may break without bringing the file farther than it was."""
PAUSE_S = 1.0
"""Wait after the first of them; it doubles from one to the next."""


def download(url: str) -> Path:
    """The file behind a URL, from the cache if it is there undamaged (without a network call), else fetched into it.

    Args:
        url: `http://` or `https://`; may end with `#sha256=` and 64 hexadecimal digits, which the file must have.

    Returns:
        Path of the complete file in the cache.

    Raises:
        InputError: not a URL, no such file on the server, no free space, or offline and not in the cache.
        Failure: the connection kept breaking off, or the file does not have the checksum.
    """
    url, pin = split_checksum(url)
    entry = Entry.of(url)
    if entry.intact(pin):
        return entry.file
    if variable := offline():
        state = "in the cache, but damaged or with another checksum," if entry.file.exists() else "not in the cache"
        raise InputError(
            f"{entry.label} is {state} and {variable} forbids the network: fetch it once without {variable}, or copy "
            f"the folder {entry.file.parent} from a machine that has it, or give the path of the file."
        )
    try:
        with _alone(entry):
            # Another process may have fetched it while this one waited.
            if not entry.intact(pin):
                _fetch(entry, pin)
    except OSError as error:
        raise unwritable(entry.file.parent, error) from error
    return entry.file


def split_checksum(url: str) -> tuple[str, str | None]:
    """A URL without its fragment, and the SHA-256 in the fragment (lower case) or None.

    Raises:
        InputError: another fragment than a SHA-256, or not a URL.
    """
    base, _, fragment = url.partition("#")
    pin = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", fragment)
    if fragment and not pin:
        raise InputError(f"The end #{fragment} of the URL is no checksum: write #sha256= and 64 hexadecimal digits.")
    try:
        parts = urlsplit(base)
        # Asking for the port raises ValueError where it is no number.
        usable = bool(parts.hostname) and (parts.port or 80) and re.fullmatch(r"[!-~]+", base)
    except ValueError:
        usable = False
    if not usable:
        raise InputError(
            f"{base!r} is not a URL: write https://host/path, with spaces and accents as %20 and the like."
        )
    if parts.username is not None:
        raise InputError(
            f"The URL at {parts.hostname} holds a user name, which is not supported: download the file in a browser "
            "and give its path."
        )
    return base, pin[1].lower() if pin else None


@contextlib.contextmanager
def _alone(entry: Entry) -> Iterator[None]:
    """Lets one process at a time fetch a URL."""
    from huggingface_hub.utils import WeakFileLock

    entry.lock.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(WeakFileLock(entry.lock, timeout=1))
        except TimeoutError:
            print(f"Waiting for another process that fetches {entry.label}.")
            stack.enter_context(WeakFileLock(entry.lock))
        yield


def _fetch(entry: Entry, pin: str | None) -> None:
    if entry.file.exists():
        print(f"{entry.file} is damaged or has another checksum than asked for: it is fetched again.")
    resumed = entry.part().received > 0
    _pull(entry)
    digest = sha256(entry.partial)
    if pin and digest != pin and resumed:
        # A power cut can leave the older part with the right length and wrong bytes.
        entry.discard()
        _pull(entry)
        digest = sha256(entry.partial)
    if pin and digest != pin:
        entry.discard()
        raise Failure(
            f"{entry.label} has the SHA-256 {digest} and not {pin}, so it was thrown away: the file on the server or "
            "the checksum is wrong; find out which before you use it."
        )
    entry.finish(digest)
    advice = "" if pin else f" Add #sha256={digest} to the URL to insist on this file."
    print(f"Fetched {entry.label} to {entry.file} ({entry.file.stat().st_size / 1e6:.1f} MB).{advice}")


def _pull(entry: Entry) -> None:
    """Brings the part to its full length, with as many connections as it takes."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    farthest, fruitless = entry.part().received, 0
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        progress.add_task(f"Fetching {entry.file.name}", total=None)
        while True:
            try:
                return transfer(entry, progress)
            except BrokenOff as error:
                received = entry.part().received
                fruitless = 0 if received > farthest else fruitless + 1
                farthest = max(farthest, received)
                if fruitless == TRIES:
                    raise Failure(f"{entry.label} could not be fetched ({error}): {_next_step(received)}.") from error
                time.sleep(PAUSE_S * 2 ** (fruitless - 1))


def _next_step(received: int) -> str:
    if received:
        return f"the first {received} bytes are kept and the next call resumes there"
    return "check the address and the connection, and call again"

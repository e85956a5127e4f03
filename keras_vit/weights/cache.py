"""The folder where fetched weights stay, and where in it the file of a URL lies."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from keras_vit.errors import InputError
from keras_vit.files import write_text

HOME = "KERAS_VIT_HOME"
OFFLINE = ("KERAS_VIT_OFFLINE", "HF_HUB_OFFLINE")
_LONGEST_NAME = 100


def cache_folder() -> Path:
    """Where fetched files stay: `KERAS_VIT_HOME` if that environment variable is set, else `~/.cache/keras_vit`.

    Raises:
        InputError: the home folder is not known.
    """
    try:
        return Path(os.environ.get(HOME) or "~/.cache/keras_vit").expanduser().absolute()
    except RuntimeError:
        raise InputError(f"The home folder is not known: set {HOME} to a folder for fetched weights.") from None


def offline() -> str | None:
    """The environment variable that forbids the network (`KERAS_VIT_OFFLINE` or `HF_HUB_OFFLINE`), or None."""
    yes = ("1", "true", "yes", "on")
    return next((name for name in OFFLINE if os.environ.get(name, "").strip().lower() in yes), None)


def check_space(folder: Path, size: int, what: str) -> None:
    """Asks the disk before a download instead of filling it.

    Args:
        folder: where the file will lie; it exists.
        size: bytes that are still to come.
        what: the name of the download, for the sentence.

    Raises:
        InputError: fewer bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise InputError(
            f"{what} needs {size / 1e9:.2f} GB and {folder} has {free / 1e9:.2f} GB free: free some space or set "
            f"{HOME} to a folder on another disk."
        )


def unwritable(folder: Path, error: OSError) -> InputError:
    """The sentence for a cache that cannot be written, a disk that became full included."""
    return InputError(
        f"{error.filename or folder} cannot be written ({error.strerror or error}): free some space or set {HOME} to "
        "a folder that you may write to."
    )


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes, with a progress bar."""
    from rich.console import Console
    from rich.progress import open as open_with_bar

    console = Console(stderr=True)
    with open_with_bar(
        path,
        "rb",
        description=f"Checking {path.name}",
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Part:
    """What came of a file before its connection broke off.

    Attributes:
        received: bytes on the disk.
        validator: the ETag or date by which the server tells whether its file is still the same one; None where it
            gave none, and then nothing can be resumed.
        size: bytes of the whole file; None where the server did not say.
    """

    received: int = 0
    validator: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Entry:
    """The place of one URL in the cache: a folder of its own, so that two URLs never share a file name.

    Attributes:
        url: without a fragment.
        file: the complete file. Its record lies beside it, and while it is fetched also the part that came so far.
    """

    url: str
    file: Path

    @classmethod
    def of(cls, url: str) -> Entry:
        """The entry of a URL. Nothing is made on the disk."""
        key = hashlib.sha256(url.encode()).hexdigest()[:16]
        return cls(url, cache_folder() / "urls" / key / file_name(url))

    @property
    def label(self) -> str:
        """The URL as people are shown it: its query may hold a signature or a key."""
        return self.url.partition("?")[0]

    @property
    def record(self) -> Path:
        """JSON with the URL, size and SHA-256 of the complete file."""
        return self._beside(".json")

    @property
    def partial(self) -> Path:
        """The bytes that came so far."""
        return self._beside(".partial")

    @property
    def lock(self) -> Path:
        """Held by the process that is fetching. It lies elsewhere, so that a URL that leads nowhere has no folder."""
        return cache_folder() / "locks" / f"{self.file.parent.name}.lock"

    @property
    def _partial_record(self) -> Path:
        return self._beside(".partial.json")

    def intact(self, pin: str | None) -> bool:
        """Whether the file is here, as it was when it was fetched, and has the SHA-256 `pin` (if that is given)."""
        record = _read_json(self.record)
        known = record.get("sha256")
        if not known or (pin and pin != known):
            return False
        try:
            return self.file.stat().st_size == record.get("size") and sha256(self.file) == known
        except OSError:
            return False

    def part(self) -> Part:
        """What can be resumed; an empty part when there is nothing."""
        record = _read_json(self._partial_record)
        if not record.get("validator") or not self.partial.is_file():
            return Part()
        return Part(self.partial.stat().st_size, record["validator"], record.get("size"))

    def begin(self, validator: str | None, size: int | None) -> None:
        """Starts an empty part."""
        self.discard()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._partial_record, json.dumps({"validator": validator, "size": size}))

    def discard(self) -> None:
        """Drops the part."""
        self.partial.unlink(missing_ok=True)
        self._partial_record.unlink(missing_ok=True)

    def finish(self, digest: str) -> None:
        """Makes the part the complete file and writes its record."""
        os.replace(self.partial, self.file)
        size = self.file.stat().st_size
        write_text(self.record, json.dumps({"url": self.label, "size": size, "sha256": digest}, indent=1) + "\n")
        self.discard()

    def _beside(self, ending: str) -> Path:
        return self.file.with_name(self.file.name + ending)


def file_name(url: str) -> str:
    """A harmless file name for a URL: the last component of its decoded path, letters, digits and `._+-` only."""
    last = re.split(r"[/\\]", unquote(urlsplit(url).path))[-1]
    safe = re.sub(r"[^A-Za-z0-9._+-]", "_", last)[-_LONGEST_NAME:].lstrip(".")
    return safe or "download"


def _read_json(path: Path) -> dict:
    """A record, empty when it is missing or damaged: then the file that it describes is fetched again."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}

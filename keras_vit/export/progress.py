"""What a person at a terminal sees while a file runs in a process of its own."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[int, int], None]
"""Is told how many images are done, and of how many."""

LINE = re.compile(rb"^(\d+)/(\d+)$", re.MULTILINE)
SECONDS_BETWEEN_LOOKS = 0.2


@contextlib.contextmanager
def bar(console: Console, text: str) -> Iterator[Advance]:
    """A progress bar that is gone when the block ends; not drawn where the console is no terminal.

    Args:
        console: where to.
        text: what is being done.

    Returns:
        What to call with the images that are done, and the images there are.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = console.quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task(text, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextlib.contextmanager
def following(log: Path, advance: Advance | None) -> Iterator[None]:
    """Passes on the progress lines `k/n` that a process writes to its log while the block runs."""
    if advance is None:
        yield
        return
    over = threading.Event()

    def follow() -> None:
        while not over.wait(SECONDS_BETWEEN_LOOKS):
            with contextlib.suppress(OSError):
                if lines := LINE.findall(log.read_bytes()):
                    advance(*map(int, lines[-1]))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()

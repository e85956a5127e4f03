"""Work on many items in threads, with a bar when it takes long."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

_CHUNK = 32
_PROGRESS_AFTER_S = 1.0


def in_threads(work: Callable[[list], list], items: Sequence, title: str, progress: bool = True) -> Iterator:
    """Yields the result of each item, in order.

    Args:
        work: from a list of items to the list of their results.
        items: what is worked on.
        title: what the bar says.
        progress: show a bar on a terminal when it takes longer than a second.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True)
    progress = progress and console.is_terminal
    task = bar.add_task(title, total=len(items))
    chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
    started = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for results in pool.map(work, chunks):
                if progress and time.monotonic() - started > _PROGRESS_AFTER_S:
                    bar.start()
                bar.advance(task, len(results))
                yield from results
        finally:
            # Stopping a bar that never started prints an empty line.
            if bar.live.is_started:
                bar.stop()

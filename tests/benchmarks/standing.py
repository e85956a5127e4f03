"""No benchmark: contenders that stand ready in processes of their own and take turns, one piece of work each.

A fresh process for each figure would measure mostly its start; processes that run side by side would measure each
other. Here each contender builds its model, warms up, and then waits for its turn while another one works. The other
half of this file runs inside the contenders, in any environment with the standard library.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable


def serve(work: Callable[[], object], warm_up: int = 2, **facts) -> None:
    """The contender's side: does `work` whenever asked, and says how long it took.

    Args:
        work: one piece of work; returns when it is done.
        warm_up: how often it is done before the contender is ready; the first time is told as `first_s`.
        facts: JSON values that are told when ready.
    """
    seconds = [_timed(work) for _ in range(warm_up)]
    _say({"first_s": seconds[0], **facts})
    for line in sys.stdin:
        if not line.strip():
            break
        _say({"seconds": _timed(work)})
    # Linux counts in kilobytes.
    _say({"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024})


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _say(words: dict) -> None:
    print(json.dumps(words), flush=True)


class Standing:
    """The benchmark's side of one contender.

    Args:
        command: program and arguments; it ends in `serve`.
        env: variables set on top of this process's own.

    Raises:
        RuntimeError: the contender ended before it was ready; the message is the last line of its stderr.
    """

    def __init__(self, command: list[str], env: dict[str, str] | None = None):
        # A file, because a pipe that nobody reads fills up and stops the contender.
        self.stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115, it lives as long as the process
        self.process = subprocess.Popen(
            command,
            env=os.environ | (env or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            text=True,
        )
        self.ready = self._hear()
        self.seconds: list[float] = []

    def turn(self) -> None:
        """One piece of work, timed by the contender itself."""
        self._ask("go")
        self.seconds.append(self._hear()["seconds"])

    def finish(self) -> dict:
        """Ends the process: `peak_bytes` of its resident memory."""
        self._ask("")
        last = self._hear()
        self.process.communicate()
        return last

    def _ask(self, word: str) -> None:
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def _hear(self) -> dict:
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        self.process.wait()
        self.stderr.seek(0)
        reason = self.stderr.read().strip().splitlines()[-1:]
        raise RuntimeError(reason[0] if reason else f"exit status {self.process.returncode}")

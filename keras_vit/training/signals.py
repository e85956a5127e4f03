"""SIGTERM and SIGINT as a request instead of an end."""

from __future__ import annotations

import signal
import threading


class StopSignals:
    """Within the block, the first SIGTERM (a machine that is taken away) or SIGINT (Ctrl-C) is only noted.

    The handlers that were there before come back with it, so that a second signal stops at once, and at the end of the
    block. Outside the main thread, where Python takes no signals, nothing is noted.

    Attributes:
        received: the name of the signal, or None.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self):
        self.received: str | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *error) -> None:
        self._restore()

    def _note(self, number: int, frame) -> None:
        self.received = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            # None stands for a handler that Python did not install and cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

"""What share of the training time went by waiting for data."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

_BOTTLENECK = 0.2  # of the time; below it a faster pipeline would hardly be felt


class WaitMeter:
    """Measures how long a training loop waits for its next batch.

    It wraps what the loop iterates over: the clock runs inside `next`, which takes no time while prefetching keeps up.
    The first batch, which fills the pipeline, and everything before it is not counted.

    Attributes:
        waited_s: seconds spent waiting for batches.
        total_s: seconds from the end of the first batch's wait to the end of the last one's.
    """

    def __init__(self):
        self.waited_s = self.total_s = 0.0
        self._started: float | None = None

    def watch(self, batches: Iterable) -> Iterator:
        """The same batches, their waits added to the meter's; several loops, as epochs are, may follow each other."""
        iterator = iter(batches)
        self._started = None
        while True:
            asked = time.perf_counter()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            now = time.perf_counter()
            if self._started is None:
                self._started = now
                before = self.total_s
            else:
                self.waited_s += now - asked
                self.total_s = before + now - self._started
            yield batch

    @property
    def share(self) -> float:
        """Share of the time that was spent waiting, 0..1; 0 before the second batch."""
        return self.waited_s / self.total_s if self.total_s else 0.0

    def advice(self, cacheable: bool = False) -> str | None:
        """A sentence for the user where the input pipeline holds training up by a fifth or more, else None.

        Args:
            cacheable: images are decoded anew in each epoch, and there is more than one: `data.cache` would help.
        """
        if self.share < _BOTTLENECK:
            return None
        remedy = "; try data.cache=memory." if cacheable else "."
        return f"The input pipeline is the bottleneck: the model waited for images {self.share:.0%} of the time{remedy}"

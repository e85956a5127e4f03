"""The meter of the time that training waits for data."""

from __future__ import annotations

import time

import pytest

from keras_vit.data.waiting import WaitMeter


def slowly(n: int, seconds: float):
    for i in range(n):
        time.sleep(seconds)
        yield i


def run(wait: float, work: float, epochs: int = 2) -> WaitMeter:
    meter = WaitMeter()
    for _ in range(epochs):
        seen = []
        for batch in meter.watch(slowly(6, wait)):
            seen.append(batch)
            time.sleep(work)
        assert seen == list(range(6))
    return meter


def test_a_slow_pipeline_is_told():
    meter = run(wait=0.03, work=0.01)
    # Five waits an epoch count, the first fills the pipeline.
    assert meter.waited_s == pytest.approx(2 * 5 * 0.03, rel=0.5)
    assert 0.6 < meter.share < 0.9
    assert f"waited for images {meter.share:.0%} of the time." in meter.advice()
    assert meter.advice(cacheable=True).endswith("of the time; try data.cache=memory.")


def test_a_fast_pipeline_is_not():
    meter = run(wait=0.0, work=0.02)
    assert meter.share < 0.1
    assert meter.advice(cacheable=True) is None
    assert WaitMeter().share == 0

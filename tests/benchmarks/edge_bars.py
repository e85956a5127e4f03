"""The project's bars for exported files, as tables, and whether measured figures meet them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Faster:
    """`own` is at least `factor` times as fast as `peer`, both of one size and in the same rounds."""

    own: str
    peer: str
    size: str
    factor: float


@dataclass(frozen=True)
class AtMost:
    """A figure of a file (`megabytes`, `logits_error`) is at most `limit`."""

    own: str
    figure: str
    size: str
    limit: float


FACTORS = {"ti16": 1.08, "s16": 1.04, "b16": 1.04}
"""Size -> how much faster our float32 file is to be than every other float32 .tflite."""

SPEED = [
    *(
        Faster("ours_float32", peer, size, factor)
        for size, factor in FACTORS.items()
        for peer in ("kerashub", "kerashub_static", "timm_litert")
    ),
    *(Faster("ours_float32", peer, size, 1.2) for size in FACTORS for peer in ("timm", "timm_traced")),
    *(Faster("ours_onnx", peer, size, 1.0) for size in FACTORS for peer in ("timm", "timm_traced")),
    Faster("ours_dynamic", "stock", "ti16", 1.18),
    Faster("ours_full_int8", "stock_full_int8", "ti16", 2.0),
    Faster("ours_reduced", "stock", "ti16", 1.6),
    Faster("ours_reduced_dynamic", "stock", "ti16", 1.6),
]
"""Judged at every number of threads."""

LIMITS = [
    AtMost("ours_dynamic", "megabytes", "ti16", 6.3),
    *(AtMost(own, "logits_error", size, 1e-4) for size in FACTORS for own in ("ours_float32", "ours_onnx")),
]


@dataclass(frozen=True)
class Verdict:
    """A bar and what was measured; `met` is None where the files in `missing` are."""

    bar: str
    needed: float
    measured: float | None
    met: bool | None
    missing: tuple[str, ...]


def ratio(own: np.ndarray, peer: np.ndarray) -> float:
    """How many times as fast as the peer: the median over rounds of the ratio of the round's medians.

    Whatever else the machine does in a round meets both, so that the ratio scatters less than either.

    Args:
        own: (rounds, calls), milliseconds.
        peer: of the same rounds.
    """
    return float(np.median(np.median(peer, axis=1) / np.median(own, axis=1)))


def judge_speed(size: str, threads: int, latencies: dict[str, np.ndarray]) -> list[Verdict]:
    """Every bar on speed for this size; `latencies` is name -> (rounds, calls)."""
    verdicts = []
    for bar in (bar for bar in SPEED if bar.size == size):
        missing = tuple(f"{name}_{size}" for name in (bar.own, bar.peer) if name not in latencies)
        measured = None if missing else ratio(latencies[bar.own], latencies[bar.peer])
        met = None if missing else measured >= bar.factor
        label = f"{size}, {threads} threads: {bar.own} at least {bar.factor:g} x as fast as {bar.peer}"
        verdicts.append(Verdict(label, bar.factor, measured, met, missing))
    return verdicts


def judge_limits(size: str, figures: dict[str, dict[str, float]]) -> list[Verdict]:
    """Every other bar for this size; `figures` is name -> figure -> value."""
    verdicts = []
    for bar in (bar for bar in LIMITS if bar.size == size):
        measured = figures.get(bar.own, {}).get(bar.figure)
        missing = (f"{bar.own}_{size}",) if measured is None else ()
        met = None if missing else measured <= bar.limit
        label = f"{size}: {bar.figure} of {bar.own} at most {bar.limit:g}"
        verdicts.append(Verdict(label, bar.limit, measured, met, missing))
    return verdicts

"""Speed against accuracy as an SVG that a page holds: no file, no script, colours of the page's own style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from keras_vit.evaluation.elements import text

WIDTH, HEIGHT = 480, 320
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 14, 46
RADII = (9.0, 24.0)
"""Of the smallest bubble that holds its number, and of the largest file's."""

STYLE = """
.plot { max-width: 640px; width: 100%; height: auto; display: block; }
.plot text { fill: var(--text); font: 13px system-ui, sans-serif; }
.plot .grid { stroke: var(--line); }
.plot .source { stroke: var(--text); stroke-dasharray: 5 4; }
.plot circle { fill: var(--good); fill-opacity: .8; stroke: var(--back); }
.plot circle.missed { fill: var(--bad); }
.plot .name { fill: var(--back); font-weight: 700; text-anchor: middle; dominant-baseline: central; }
"""


@dataclass(frozen=True)
class Point:
    """One file.

    Attributes:
        name: of a few characters, inside the bubble.
        words: what the bubble says when it is pointed at.
        x: latency in ms.
        y: score as a fraction.
        size: in bytes; the bubble's area follows it.
        ok: within its tolerance.
    """

    name: str
    words: str
    x: float
    y: float
    size: float
    ok: bool = True


def scatter(points: Sequence[Point], *, source: float, x_label: str, y_label: str) -> str:
    """Latency from 0 to the right, score upwards, the source's score as a dashed line.

    Args:
        points: one at least.
        source: the source's score as a fraction.
        x_label, y_label: of the axes.

    Returns:
        An `<svg>` element for a page that has `STYLE`.
    """
    scores = [100 * source, *(100 * point.y for point in points)]
    slack = max(0.12 * (max(scores) - min(scores)), 0.5)
    x_ticks = ticks(0, 1.12 * max(point.x for point in points))
    y_ticks = ticks(max(min(scores) - slack, 0), min(max(scores) + slack, 100))

    def across(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value / x_ticks[-1]

    def up(value: float) -> float:
        share = (value - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    parts = [_vertical(across(tick), tick) for tick in x_ticks] + [_horizontal(up(tick), tick) for tick in y_ticks]
    parts.append(_line("source", LEFT, WIDTH - RIGHT, *[up(100 * source)] * 2))
    largest = max(point.size for point in points)
    for point in sorted(points, key=lambda point: -point.size):
        radius = max(RADII[0], RADII[1] * math.sqrt(point.size / largest))
        parts.append(_bubble(point, across(point.x), up(100 * point.y), radius))
    words = f"{y_label} against {x_label}"
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(words)}">'
        f"{''.join(parts)}"
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{text(x_label)}</text>'
        f'<text x="14" y="{(TOP + HEIGHT - BOTTOM) / 2}" text-anchor="middle" '
        f'transform="rotate(-90 14 {(TOP + HEIGHT - BOTTOM) / 2})">{text(y_label)}</text></svg>'
    )


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, that begin at or below `low` and end at or above `high`."""
    least = (high - low) / count
    power = 10.0 ** math.floor(math.log10(least))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= least * (1 - 1e-9))
    return [number * step for number in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)]


def _vertical(x: float, value: float) -> str:
    label = f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{value:g}</text>'
    return _line("grid", x, x, TOP, HEIGHT - BOTTOM) + label


def _horizontal(y: float, value: float) -> str:
    label = f'<text x="{LEFT - 6}" y="{y:.1f}" text-anchor="end" dominant-baseline="central">{value:.6g}</text>'
    return _line("grid", LEFT, WIDTH - RIGHT, y, y) + label


def _line(kind: str, x1: float, x2: float, y1: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>'


def _bubble(point: Point, x: float, y: float, radius: float) -> str:
    kind = "ok" if point.ok else "missed"
    return (
        f'<g><title>{text(point.words)}</title><circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
        f'<text class="name" x="{x:.1f}" y="{y:.1f}">{text(point.name)}</text></g>'
    )

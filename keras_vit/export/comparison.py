"""How far the outputs of a file are from those of its source, image by image: they may be too many for the memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.tasks.shipping import Part
from keras_vit.tasks.task import Task

MOST_SHOWN = 8
"""So many disagreements are told in detail."""


@dataclass(frozen=True)
class Comparison:
    """Of n images.

    Attributes:
        errors: name of an output -> its largest error, in its own unit; None where one is not finite.
        max_error: the largest error of all outputs, in units of `Part.unit`; None likewise.
        mean_error: the mean error of all outputs, likewise.
        shares: (n,) how much of the source's decisions the file shares, 0..1.
        agreement: the same over all decisions about all images.
        divergences: (n,) see `Task.divergence`; NaN where an output is not finite.
    """

    errors: dict[str, float | None]
    max_error: float | None
    mean_error: float | None
    shares: np.ndarray
    agreement: float
    divergences: np.ndarray

    def figures(self) -> dict:
        """`max_error`, `mean_error`, `errors`, `kl`, the mean divergence, and `agreement`, for the report."""
        return {
            "max_error": self.max_error,
            "mean_error": self.mean_error,
            "errors": self.errors,
            "kl": None if self.max_error is None else float(self.divergences.mean()),
            "agreement": self.agreement,
        }


def compare(outputs: Iterable[np.ndarray], source: Iterable[np.ndarray], task: Task) -> Comparison:
    """A file's outputs against its source's.

    Args:
        outputs: of the file, n arrays (..., K): its outputs side by side.
        source: of the source.
        task: knows what they mean.
    """
    parts = task.parts
    largest, means, same, of, divergences = [], [], [], [], []
    for output, wanted in zip(outputs, source, strict=True):
        output, wanted = np.asarray(output), np.asarray(wanted)
        finite = bool(np.isfinite(output).all())
        errors = [np.abs(output[..., p.columns].astype("float64") - wanted[..., p.columns]) for p in parts]
        largest.append([float(error.max()) if finite else np.nan for error in errors])
        means.append(sum(float(e.sum()) / p.unit for p, e in zip(parts, errors, strict=True)) / output.size)
        agreed, decisions = task.same(output, wanted)
        same.append(agreed)
        of.append(decisions)
        divergences.append(task.divergence(output, wanted) if finite else np.nan)
    worst = np.max(largest, axis=0)
    finite = bool(np.isfinite(worst).all())
    return Comparison(
        errors={part.name: float(error) if finite else None for part, error in zip(parts, worst, strict=True)},
        max_error=_in_units(worst, parts) if finite else None,
        mean_error=float(np.mean(means)) if finite else None,
        shares=np.array([a / d if d else 1.0 for a, d in zip(same, of, strict=True)]),
        agreement=sum(same) / sum(of) if sum(of) else 1.0,
        divergences=np.array(divergences),
    )


def divergence(outputs: Iterable[np.ndarray], source: Iterable[np.ndarray], task: Task) -> float:
    """The mean of `Task.divergence` over n images."""
    pairs = zip(outputs, source, strict=True)
    return float(np.mean([task.divergence(np.asarray(output), np.asarray(wanted)) for output, wanted in pairs]))


def disagreements(
    compared: Comparison,
    outputs: Sequence[np.ndarray],
    source: Sequence[np.ndarray],
    labels,
    names: Sequence[str],
    task: Task,
    most: int = MOST_SHOWN,
) -> list[dict]:
    """The images about which a file decides otherwise than its source, those where it is farthest from it first.

    Args:
        compared: what `compare` found.
        outputs: of the file, n arrays.
        source: of the source.
        labels: of the n images.
        names: n names of the images.
        task: knows what they mean.
        most: tell at most so many.

    Returns:
        `{"index", "image", "label", "agreement", "source", "file"}` each: the image's index and file name, its true
        class where it has one, the share of decisions that are the same, and what source and file see most of, as
        `[class, how much]`.
    """
    images = np.flatnonzero((compared.shares < 1) & np.isfinite(compared.divergences))
    farthest = images[np.argsort(-compared.divergences[images], kind="stable")][:most]
    return [
        {
            "index": int(index),
            "image": Path(names[index]).name,
            "label": int(labels[index]) if isinstance(labels, np.ndarray) else None,
            "agreement": float(compared.shares[index]),
            "source": [list(each) for each in task.told(np.asarray(source[index]))],
            "file": [list(each) for each in task.told(np.asarray(outputs[index]))],
        }
        for index in farthest
    ]


def _in_units(errors: np.ndarray, parts: Sequence[Part]) -> float:
    return max(float(error) / part.unit for error, part in zip(errors, parts, strict=True))

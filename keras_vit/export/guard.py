"""Whether a file is good enough to be shipped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from keras_vit.export.formats import Format
from keras_vit.export.report import METRICS
from keras_vit.export.staging import stage
from keras_vit.export.verify import Reference, measure


@dataclass(frozen=True)
class Guard:
    """Runs every file on the validation images and holds it to its budget.

    Attributes:
        reference: validation images and what the source makes of them.
        max_error: largest error of any probability that a float file may have; other outputs have units of their own.
        max_drop: how much smaller than the source's the metric of a quantised file may be, a fraction.
        threads: of the runtimes.
        console: gets a line a file.
        folder: gets pictures of disagreements, in a folder for each file.
        allow_drop: keep files that miss their budget.
    """

    reference: Reference
    max_error: float
    max_drop: float
    threads: int
    console: Console
    allow_drop: bool
    folder: Path

    def judge(self, path: Path, name: str, row: Format) -> dict:
        """The report's entry of a file: the figures of `verify.measure`, `misses` (sentences), `ok` and `kept`.

        Args:
            path: of the file.
            name: of its format.
            row: the format.

        Raises:
            ExportFailed: the file does not load or does not run.
        """
        with stage(self.console, f"{name}: running in its own runtime") as advance:
            figures = measure(
                path,
                row.runner,
                row.inputs,
                self.reference,
                threads=self.threads,
                pictures=self.folder / row.file,
                progress=advance,
            )
        misses = self.misses(figures, quantized=row.quantized)
        kept = self.allow_drop or not misses
        return {"file": row.file, "format": name, "ok": not misses, "kept": kept, "misses": misses, **figures}

    def misses(self, figures: dict, *, quantized: bool) -> list[str]:
        """Why the figures of `verify.measure` are not good enough; empty when they are."""
        drop, missed = figures["metric_source"] - figures["metric"], []
        for part in self.reference.task.parts:
            error, most = figures["errors"][part.name], self.max_error * part.unit
            if error is None:
                missed.append(f"its {part.name} are not all finite")
            elif not quantized and error > most:
                missed.append(f"its {part.name} are off by up to {error:.2g}, more than {most:g}")
        # A hair's breadth for fractions that floating point does not hold exactly: 0.77 - 0.76 is above 0.01.
        if quantized and drop > self.max_drop + 1e-9:
            of = METRICS.get(self.reference.task.metric, self.reference.task.metric)
            missed.append(f"it loses {100 * drop:.2f} points of {of}, more than {100 * self.max_drop:g}")
        return missed

"""The export's report: one JSON file to script against and one table to read."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import keras
from rich.console import Console
from rich.table import Table

from keras_vit.export.verify import Reference
from keras_vit.preprocessing import Preprocessing
from keras_vit.version import __version__


def source_entry(model: keras.Model, preprocessing: Preprocessing, reference: Reference, threads: int) -> dict:
    """The report's `source`: the model, the images it was judged on, and the versions and threads that judged it."""
    return {
        "model": model.name,
        "parameters": model.count_params(),
        "precision": _precision(model),
        "preprocessing": preprocessing.to_dict(),
        "metric_name": "top1",
        "metric": reference.top1,
        "images": len(reference.labels),
        "device": "cpu",
        "threads": threads,
        "versions": {
            "keras_vit": __version__,
            **{name: metadata.version(name) for name in ("tensorflow", "keras", "ai-edge-litert")},
        },
    }


def write_report(report: dict, path: Path) -> None:
    """Writes the report as JSON."""
    path.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def print_table(report: dict, console: Console | None = None) -> None:
    """Prints a report, one line an artefact.

    Args:
        report: what `export` returns, or the content of `report.json`.
        console: where to; standard output by default.
    """
    source = report["source"]
    table = Table(title=f"{source['model']}, {source['images']} validation images, top-1 {source['metric']:.1%}")
    table.add_column("file")
    for heading in ("size", "max error", "mean error", "agreement", "top-1", "ms/image", "verdict"):
        table.add_column(heading, justify="right")
    for entry in report["artifacts"]:
        errors = [entry["max_error"], entry["mean_error"]]
        table.add_row(
            entry["file"],
            f"{entry['size_bytes'] / 1e6:.2f} MB",
            *("not finite" if error is None else f"{error:.1e}" for error in errors),
            f"{entry['agreement']:.1%}",
            f"{entry['metric']:.1%}",
            f"{entry['latency_ms']:.1f}",
            "ok" if entry["ok"] else "missed, kept" if entry["kept"] else "missed, deleted",
        )
    table.caption = f"CPU, {source['threads']} thread(s), median of single-image calls"
    (console or Console()).print(table)


def _precision(model: keras.Model) -> str:
    """The dtype policy of most layers: normalisation and logits are float32 in every model."""
    policies = [layer.dtype_policy.name for layer in model.layers]
    return max(policies, key=policies.count)

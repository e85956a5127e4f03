"""The export's report: one JSON file to script against and one table to read."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import keras
import tensorflow as tf
from rich.box import SIMPLE_HEAD
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
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "ai_edge_litert": metadata.version("ai-edge-litert"),
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
    table = Table(
        title=f"{source['model']}, {source['images']} validation images, top-1 {source['metric']:.1%}",
        caption=f"ms: median of single-image calls on the CPU, {source['threads']} thread(s)",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("file", no_wrap=True)
    for heading in ("MB", "max error", "mean error", "agrees", "top-1", "ms", "verdict"):
        table.add_column(heading, justify="right")
    for entry in report["artifacts"]:
        errors = [entry["max_error"], entry["mean_error"]]
        table.add_row(
            entry["file"],
            f"{entry['size_bytes'] / 1e6:.2f}",
            *("not finite" if error is None else f"{error:.0e}" for error in errors),
            f"{entry['agreement']:.1%}",
            f"{entry['metric']:.1%}",
            f"{entry['latency_ms']:.3g}",
            "ok" if entry["ok"] else "missed" if entry["kept"] else "deleted",
        )
    (console or Console()).print(table)


def _precision(model: keras.Model) -> str:
    """The dtype policy of most layers: normalisation and logits are float32 in every model."""
    policies = [layer.dtype_policy.name for layer in model.layers]
    return max(policies, key=policies.count)

"""The export's report: one JSON file to script against and one table to read."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path

import keras
import tensorflow as tf
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from keras_vit.export.verify import Reference
from keras_vit.preprocessing import Preprocessing
from keras_vit.tasks.task import describe_task
from keras_vit.version import __version__

METRICS = {"top1": "top-1", "miou": "mIoU", "ap": "AP"}
"""How a metric's name is written for people."""

SUMMARY = (
    *("file", "format", "ok", "size_bytes", "latency_ms", "agreement", "metric", "metric_source"),
    *("max_error", "mean_error", "kl", "peak_memory_bytes", "load_ms"),
)
"""The figures of an artefact that are one number, for tables."""


TABLE_WIDTH = 120


def source_entry(model: keras.Model, preprocessing: Preprocessing, reference: Reference, threads: int) -> dict:
    """The report's `source`: the model, the images it was judged on, and the versions and machine that judged it."""
    return {
        "model": model.name,
        "parameters": model.count_params(),
        "precision": _precision(model),
        "preprocessing": preprocessing.to_dict(),
        "task": describe_task(reference.task),
        "metric_name": reference.task.metric,
        "metric": reference.score,
        "images": len(reference.examples),
        "device": "cpu",
        "processor": _processor(),
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
    metric = METRICS.get(source["metric_name"], source["metric_name"])
    threads = sorted({count for entry in report["artifacts"] for count in entry["latency"]}, key=int)
    table = Table(
        title=f"{source['model']}, {source['images']} validation images, {metric} {source['metric']:.1%}",
        caption="points: change of the score; KL in nats; ms: median of single-image calls on the CPU, by threads; "
        "RAM: peak above the bare runtime's",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("file", overflow="fold", min_width=14)
    for heading in ("MB", "max error", "KL", "agrees", metric, "points", *(f"ms, {n}" for n in threads), "RAM MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for entry in report["artifacts"]:
        table.add_row(
            entry["file"],
            f"{entry['size_bytes'] / 1e6:.2f}",
            *("not finite" if entry[key] is None else f"{entry[key]:.0e}" for key in ("max_error", "kl")),
            f"{entry['agreement']:.1%}",
            f"{entry['metric']:.1%}",
            f"{100 * (entry['metric'] - entry['metric_source']):+.2f}",
            *(f"{entry['latency'][n]['median_ms']:.3g}" if n in entry["latency"] else "" for n in threads),
            "" if entry["peak_memory_bytes"] is None else f"{entry['peak_memory_bytes'] / 1e6:.0f}",
            verdict(entry),
        )
    console = console or Console()
    if not console.is_terminal:
        # Where there is no terminal rich takes 80 columns, which are too few.
        console.width = max(console.width, TABLE_WIDTH)
    console.print(table)


def verdict(entry: dict) -> str:
    """What became of an artefact: `ok`, `missed` its tolerance but kept, or `deleted`."""
    return "ok" if entry["ok"] else "missed" if entry["kept"] else "deleted"


def _processor() -> str:
    """The processor's name: a latency means nothing without it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(errors="replace").splitlines() if told.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _precision(model: keras.Model) -> str:
    """The dtype policy of most layers: normalisation and logits are float32 in every model."""
    policies = [layer.dtype_policy.name for layer in model.layers]
    return max(policies, key=policies.count)

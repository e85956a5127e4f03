"""`keras-vit benchmark`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from keras_vit.cli.opened import open_path
from keras_vit.errors import InputError

NAME = "benchmark"
HELP = "Compare the speed, size and memory of runs and exported files on this machine."
EXAMPLES = """examples:
  keras-vit benchmark saved_models/run1
  keras-vit benchmark saved_models/run1/export/model.tflite other/model.onnx --threads 1,2,4
  keras-vit benchmark saved_models/run1 --rounds 30 --out speed/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="RUN_OR_FILE",
        help="run folders (model.keras and all that was exported) or exported files; the first is compared with",
    )
    parser.add_argument("--threads", default="1,2", help="numbers of threads (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each file (default: %(default)s)")
    parser.add_argument("--images", type=int, default=5, help="timed images a turn (default: %(default)s)")
    parser.add_argument(
        "--out", metavar="FOLDER", help="where benchmark.json and .png go; in the first run, or beside the first file"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measures, prints a table, and writes the figures and a plot."""
    from keras_vit.export.benchmark import benchmark, contenders_of
    from keras_vit.export.benchmark_plot import benchmark_png
    from keras_vit.export.predictor import Predictor
    from keras_vit.files import write_bytes, write_text

    try:
        threads = [int(word) for word in arguments.threads.split(",")]
    except ValueError:
        raise InputError(f"--threads takes numbers such as 1,2, not {arguments.threads!r}.") from None
    found = [open_path(path) for path in arguments.paths]
    contenders = [contender for each in found for contender in contenders_of(each)]
    if len({contender.name for contender in contenders}) < len(contenders):
        contenders = [dataclasses.replace(contender, name=str(contender.path)) for contender in contenders]
    figures = benchmark(contenders, threads=threads, rounds=arguments.rounds, images=arguments.images)
    _print_table(figures)
    first = found[0].path.parent if isinstance(found[0], Predictor) else found[0].folder
    folder = Path(arguments.out) if arguments.out else first
    write_text(folder / "benchmark.json", json.dumps(figures, indent=1))
    write_bytes(folder / "benchmark.png", benchmark_png(figures))
    for name in ("benchmark.json", "benchmark.png"):
        print(folder / name)
    return 0


def _print_table(found: dict) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    contenders = found["contenders"]
    table = Table(
        title=f"{found['machine']['platform']}, {found['machine']['cores']} cores",
        caption=f"ms: median of one image, p95: 95th percentile, ratio: to {contenders[0]['name']}",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("file", overflow="fold")
    for heading in ("MB", "load ms", "peak MB", "threads", "ms", "p95", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number in contenders[0]["latency"]:
        for entry in contenders:
            peak, figures = entry["peak_memory_bytes"], entry["latency"][number]
            cells = [
                f"{entry['size_bytes'] / 1e6:.2f}",
                f"{entry['load_ms']:.0f}",
                f"{peak / 1e6:.0f}" if peak else "?",
            ]
            cells += [number, f"{figures['median_ms']:.3g}", f"{figures['p95_ms']:.3g}", f"{figures['ratio']:.2f}"]
            table.add_row(entry["name"], *cells)
        table.add_section()
    Console().print(table)

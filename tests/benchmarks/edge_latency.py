"""How fast an exported ViT runs beside KerasHub's, timm's and plain Keras's, on the processor of a device.

Ti, S and B with patches of 16 at 224 pixels and 1000 classes, by every route of `edge_contenders.py`; a file that is
not in the folder yet is made first. All files of a size are run by turns in this one process: in each round every file
has its calls, in an order that changes, so that whatever else the machine does meets all of them. The bars of
`edge_bars.py` are judged for each number of threads.

    python tests/benchmarks/edge_latency.py --files FOLDER --weights deit_tiny.safetensors --calibration PHOTOS \\
        --kerashub-path KERASHUB --torch-python LITERT_TORCH/bin/python --json edge.json

A route that does not run here is left out, in a sentence, and the bars that need it are not judged. Exit status 1 when
a bar is missed. How to install the peers and how to read the numbers is in the README beside this file.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
from edge_bars import Verdict, judge_limits, judge_speed, ratio
from edge_contenders import SIZES
from edge_files import add_arguments, make_files
from edge_runtimes import CLOCKS, logits_error, open_file, timed
from fresh_process import write_json
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

MIN_ROUNDS = 7


def take_turns(files: dict[str, Path], threads: int, arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """Runs all files in rounds until the time is over, and at least seven rounds.

    Returns:
        Name -> (rounds, calls), milliseconds.
    """
    opened = {name: open_file(path, threads) for name, path in files.items()}
    rng = np.random.default_rng(0)
    latencies: dict[str, list[list[float]]] = {name: [] for name in files}
    start, rounds = time.monotonic(), 0
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task(f"{len(files)} files, {threads} threads", total=1.0)
        while (done := min(rounds / MIN_ROUNDS, (time.monotonic() - start) / arguments.seconds)) < 1:
            progress.update(bar, completed=done)
            for name in rng.permutation(list(files)):
                latencies[name].append(timed(opened[name], arguments.calls, arguments.clock))
            rounds += 1
        progress.update(bar, completed=1.0)
    return {name: np.array(rows) for name, rows in latencies.items()}


def describe(files: dict[str, Path], latencies: dict[str, np.ndarray]) -> dict[str, dict]:
    """Median and 95th percentile of each file's calls, and how many times as fast as stock float32 it is."""
    return {
        name: {
            "median_ms": float(np.median(rows)),
            "p95_ms": float(np.percentile(rows, 95)),
            "fastest_ms": float(rows.min()),
            "rounds": len(rows),
            "against_stock": ratio(rows, latencies["stock"]) if "stock" in files else None,
        }
        for name, rows in latencies.items()
    }


def errors(files: dict[str, Path], reference: Path | None) -> dict[str, float]:
    """Name -> largest error of the logits, of every file that was made of the Keras model and takes float32."""
    if reference is None:
        return {}
    found = {}
    with np.load(reference) as stored:
        images, logits = stored["images"], stored["logits"]
    for name, path in files.items():
        opened = open_file(path, threads=1)
        if name.startswith(("stock", "ours")) and opened.dtype == np.float32:
            found[name] = logits_error(opened, images, logits)
    return found


def measure(size: str, arguments: argparse.Namespace) -> tuple[dict, list[Verdict]]:
    """All figures of one size, and the verdicts on its bars."""
    files = make_files(size, arguments)
    reference = files.pop("reference", None)
    files |= {name: path for (name, own_size), path in arguments.ours.items() if own_size == size}
    error = errors(files, reference)
    figures = {
        name: {"megabytes": path.stat().st_size / 1e6, "logits_error": error.get(name)} for name, path in files.items()
    }
    verdicts = judge_limits(size, figures)
    for threads in arguments.threads:
        latencies = take_turns(files, threads, arguments)
        verdicts += judge_speed(size, threads, latencies)
        for name, described in describe(files, latencies).items():
            figures[name][f"threads_{threads}"] = described
        print_table(size, threads, figures)
    return figures, verdicts


def print_table(size: str, threads: int, figures: dict[str, dict]) -> None:
    """One row a file."""
    heading = f"{size}, 224 x 224, batch 1, {threads} thread{'s' if threads > 1 else ''}"
    table = Table("file", "MB", "logits error", "median ms", "p95 ms", "x stock", title=heading)
    for name, figure in figures.items():
        measured, error = figure[f"threads_{threads}"], figure["logits_error"]
        stock = measured["against_stock"]
        table.add_row(
            name,
            f"{figure['megabytes']:.2f}",
            "" if error is None else f"{error:.1e}",
            f"{measured['median_ms']:.1f}",
            f"{measured['p95_ms']:.1f}",
            "" if stock is None else f"{stock:.3f}",
        )
    Console().print(table)


def print_verdicts(verdicts: list[Verdict]) -> None:
    """One line a bar, and one for all that could not be judged."""
    for verdict in (verdict for verdict in verdicts if verdict.met is not None):
        print(f"{'met' if verdict.met else 'MISSED'}: {verdict.bar} ({verdict.measured:.4g})")
    if missing := sorted({name for verdict in verdicts for name in verdict.missing}):
        print(f"{sum(verdict.met is None for verdict in verdicts)} bars not judged, for want of {', '.join(missing)}")


def own_file(text: str) -> tuple[tuple[str, str], Path]:
    """`float32_ti16=FILE` -> (("ours_float32", "ti16"), FILE)."""
    label, _, path = text.partition("=")
    name, _, size = label.rpartition("_")
    if not name or size not in SIZES or not Path(path).is_file():
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME_SIZE=FILE, with a size of {', '.join(SIZES)} and a file that is there"
        )
    return (f"ours_{name}", size), Path(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument(
        "--ours",
        nargs="+",
        type=own_file,
        default=[],
        metavar="NAME_SIZE=FILE",
        help="our files by the names in edge_bars.py, such as float32_ti16=model.tflite onnx_s16=model.onnx",
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="default: 1 and 2")
    parser.add_argument("--seconds", type=float, default=60, help="per size and number of threads (default 60)")
    parser.add_argument("--calls", type=int, default=3, help="timed calls of a file in a round (default 3)")
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="cpu: processor time instead of latency, for a machine that others use too; with --threads 1 only",
    )
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    arguments = parser.parse_args()
    arguments.ours = dict(arguments.ours)
    if arguments.clock == "cpu" and arguments.threads != [1]:
        parser.error("--clock cpu adds up all threads: give --threads 1 with it.")
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"Others use this machine (load average {load:.1f}): ratios scatter, see the README.", file=sys.stderr)

    sizes, verdicts = {}, []
    for size in arguments.sizes:
        sizes[size], judged = measure(size, arguments)
        verdicts += judged
    print_verdicts(verdicts)
    if arguments.json:
        runtimes = {name: version(name) for name in ("ai-edge-litert", "onnxruntime")}
        report = {
            "runtimes": runtimes,
            "clock": arguments.clock,
            "load_average": load,
            "sizes": sizes,
            "bars": [asdict(verdict) for verdict in verdicts],
        }
        write_json(arguments.json, report)
    return 1 if any(verdict.met is False for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())

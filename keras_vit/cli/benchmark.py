"""`keras-vit benchmark`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from keras_vit.cli.opened import open_path
from keras_vit.errors import InputError

NAME = "benchmark"
HELP = "Compare the speed, size and memory of runs and exported files on this machine, or of training steps."
EXAMPLES = """examples:
  keras-vit benchmark saved_models/run1
  keras-vit benchmark saved_models/run1/export/model.tflite other/model.onnx --threads 1,2,4
  keras-vit benchmark saved_models/run1 --rounds 30 --out speed/
  keras-vit benchmark --train recipes/digits.yaml                # training: finds the largest batch that fits
  keras-vit benchmark --train recipes/digits.yaml --set model.remat=block --batch-sizes 32,64,128
"""

TRAINING_COLUMNS = {
    "step s": ("step_s", "{:.3f}"),
    "images/s": ("images_per_second", "{:.1f}"),
    "MFU": ("mfu", "{:.0%}"),
    "peak GB": ("peak_memory_gb", "{:.2f}"),
    "first step s": ("first_step_s", "{:.1f}"),
}
"""Heading -> the figure of a training step and how it is shown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="RUN_OR_FILE",
        help="run folders (model.keras and all that was exported) or exported files; the first is compared with. With "
        "--train, one recipe or run folder",
    )
    parser.add_argument("--threads", default="1,2", help="numbers of threads (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each file (default: %(default)s)")
    parser.add_argument("--images", type=int, default=5, help="timed images a turn (default: %(default)s)")
    parser.add_argument(
        "--out", metavar="FOLDER", help="where benchmark.json and .png go; in the first run, or beside the first file"
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--train", action="store_true", help="measure training steps by batch size; JSON goes to --out if it is given"
    )
    training.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="a setting of the recipe")
    training.add_argument(
        "--batch-sizes", metavar="N,N", help="such as 8,16,32; by default doubled until one does not fit"
    )
    training.add_argument("--steps", type=int, default=5, help="timed steps a batch size (default: %(default)s)")
    training.add_argument(
        "--memory", type=float, metavar="GB", help="what a step may take; by default 90%% of what is free"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measures, prints a table, and writes the figures and a plot."""
    return _training(arguments) if arguments.train else _files(arguments)


def _training(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from keras_vit.cli.train import read_recipe
    from keras_vit.files import write_text
    from keras_vit.training import Recipe
    from keras_vit.training.batch_sizes import batch_costs

    if len(arguments.paths) > 1:
        raise InputError("--train measures one recipe or run at a time.")
    path = Path(arguments.paths[0])
    recipe = Recipe.from_dict(read_recipe(path / "recipe.yaml" if path.is_dir() else path, arguments.set))
    sizes = _numbers("--batch-sizes", arguments.batch_sizes) if arguments.batch_sizes else None
    found, console = {}, Console()
    with console.status("measuring the first batch size") as status:
        for size, cost in batch_costs(recipe, sizes, steps=arguments.steps, memory_gb=arguments.memory):
            found[size] = cost
            rate = f"{cost['images_per_second']:.1f} images/s" if cost else "does not fit into memory"
            console.print(f"batch size {size}: {rate}", highlight=False)
            status.update(f"measuring after batch size {size}")
    table = Table("batch size", *TRAINING_COLUMNS, title=f"a training step of {recipe.model.name}")
    for size, cost in sorted(found.items()):
        shown = [form.format(cost[name]) for name, form in TRAINING_COLUMNS.values()] if cost else ["does not fit"]
        table.add_row(str(size), *shown)
    console.print(table)
    fitting = [size for size, cost in found.items() if cost]
    print(f"largest batch size that fits: {max(fitting)}" if fitting else "no batch size fits: try model.remat=block")
    if arguments.out:
        out = Path(arguments.out) / "benchmark_train.json"
        write_text(out, json.dumps({"recipe": recipe.to_dict(), "batch_sizes": found}, indent=1))
        print(out)
    return 0 if fitting else 1


def _numbers(flag: str, text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"{flag} takes numbers such as 1,2, not {text!r}.") from None


def _files(arguments: argparse.Namespace) -> int:
    from keras_vit.export.benchmark import benchmark, contenders_of
    from keras_vit.export.benchmark_plot import benchmark_png
    from keras_vit.export.predictor import Predictor
    from keras_vit.files import write_bytes, write_text

    threads = _numbers("--threads", arguments.threads)
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

"""A training step and a forward pass beside KerasHub and timm, on this machine's processor.

    python tests/benchmarks/peer_steps.py train --peer-python PEER/bin/python --kerashub-path KERASHUB
    python tests/benchmarks/peer_steps.py forward --peer-python PEER/bin/python --kerashub-path KERASHUB

Contenders stand ready in processes of their own and take turns, so that a busy machine meets all of them; ratios are
medians of a round's ratios. `train`: AdamW in float32 on batches of random images. `forward`: one image, the tiny size.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path

from fresh_process import write_json
from rich.console import Console
from rich.progress import track
from rich.table import Table
from standing import Standing

PROGRAM = str(Path(__file__).with_name("step_contenders.py"))
CONTENDERS = (
    ("keras_vit", "graph"),
    ("keras_vit", "xla"),
    ("keras_vit", "remat"),
    ("KerasHub", "graph"),
    ("KerasHub", "xla"),
    ("timm", "eager"),
)


def start(arguments: argparse.Namespace, size: str, batch: int, side: int) -> dict[str, Standing]:
    """Everyone who runs here, by name; says why of every other."""
    search = os.pathsep.join(filter(None, [arguments.kerashub_path, os.environ.get("PYTHONPATH")]))
    env = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": search}
    ready = {}
    for who, mode in CONTENDERS:
        if arguments.only and f"{who} {mode}" not in arguments.only:
            continue
        python = arguments.peer_python if who == "timm" else sys.executable
        command = [python, PROGRAM, arguments.what, who, size, str(batch), str(side), mode]
        try:
            ready[f"{who} {mode}"] = Standing(command, {} if who == "timm" else env)
        except (RuntimeError, OSError) as error:
            print(f"{who} {mode} is left out, because it does not run here: {error}", file=sys.stderr)
    return ready


def compare(arguments: argparse.Namespace, size: str, batch: int, side: int) -> dict[str, dict]:
    """Figures of everyone at one size, printed as a table."""
    standing = start(arguments, size, batch, side)
    names = list(standing)
    for turn in track(range(arguments.rounds), description=f"{size} {side}", console=Console(stderr=True)):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            standing[name].turn()
    figures = {}
    headings = ("first s", "median s", "fastest", "this / first row", "peak MB")
    table = Table(f"{arguments.what} {size}, batch {batch}, {side} px", *headings)
    own = standing[names[0]].seconds
    for name, each in standing.items():
        ratio = statistics.median(theirs / ours for theirs, ours in zip(each.seconds, own, strict=True))
        figures[name] = {**each.ready, **each.finish(), "seconds": each.seconds, "ratio": ratio}
        figures[name]["median_s"] = statistics.median(each.seconds)
        cells = (each.ready["first_s"], figures[name]["median_s"], min(each.seconds), ratio)
        table.add_row(name, *(f"{cell:.3f}" for cell in cells), f"{figures[name]['peak_bytes'] / 1e6:.0f}")
    Console(width=120).print(table)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "forward"))
    parser.add_argument("--sizes", nargs="+", default=["ti16:16", "s16:8"], help="size:batch, for train")
    parser.add_argument("--sides", nargs="+", type=int, default=[224, 384, 512, 768, 1024], help="for forward")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each (default 9)")
    parser.add_argument("--only", nargs="+", help="contenders such as 'keras_vit xla'")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter of an environment with timm")
    parser.add_argument("--kerashub-path", help="folder that keras-hub was installed into, if not this environment")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    arguments = parser.parse_args()
    if arguments.what == "train":
        wanted = [(size, int(batch), 224) for size, batch in (word.split(":") for word in arguments.sizes)]
    else:
        wanted = [("ti16", 1, side) for side in arguments.sides]
    found = {f"{size} {batch} {side}": compare(arguments, size, batch, side) for size, batch, side in wanted}
    if arguments.json:
        write_json(arguments.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())

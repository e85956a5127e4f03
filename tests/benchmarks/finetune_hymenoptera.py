"""Fine-tuning pretrained DeiT-Ti on ants and bees by one recipe: keras_vit beside timm/PyTorch, accuracy and time.

For each seed in turn, `keras-vit train` runs as a user would run it, and then `peer_timm_finetune.py` in the peer's
interpreter with the `recipe.yaml` that the keras_vit run wrote, so both have the very same values. Top-1 is that of the
best epoch on val/, which is what keras_vit keeps as `model.keras`; the last epoch's stands beside it. Time is the
whole process, from the interpreter's start to its exit.

    python tests/benchmarks/finetune_hymenoptera.py --data PHOTOS --weights deit_tiny_patch16_224.safetensors \\
        --seeds 0 1 2 --peer-python PEER/bin/python

Works with any image folder that has train/ and val/ class folders. Without `--peer-python` only keras_vit runs. A quick
trial: `--seeds 0 --set train.epochs=1`. Exit status 1 when keras_vit misses `--min-top1` or `--max-minutes`.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import yaml
from fresh_process import ContenderError, run_json, write_json
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def run_keras_vit(arguments: argparse.Namespace, seed: int) -> dict:
    """One run of the command line; its figures come out of the run folder.

    Raises:
        ContenderError: the command failed; it has said why on stderr.
    """
    folder = run_folder(arguments, seed)
    command = [sys.executable, "-m", "keras_vit", "train", "--recipe", arguments.recipe, "--data", arguments.data]
    command += ["--weights", arguments.weights, "--seed", seed, "--out", folder, "--overwrite"]
    for setting in arguments.set:
        command += ["--set", setting]
    start = time.perf_counter()
    # Progress goes where the peer's goes, so that stdout holds the result only.
    status = subprocess.run([str(part) for part in command], stdout=sys.stderr).returncode
    wall = time.perf_counter() - start
    if status:
        raise ContenderError(f"keras-vit train ended with exit status {status}")
    val = json.loads((folder / "metrics.json").read_text())["val"]
    with (folder / "history.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    counts = yaml.safe_load((folder / "recipe.yaml").read_text())["provenance"]["data_counts"]
    return {
        "seed": seed,
        "top1": val["top1"],
        "last_top1": float(last["val_top1"]),
        "wall_seconds": wall,
        "train": sum(counts["train"].values()),
        "val": sum(counts["val"].values()),
    }


def run_timm(arguments: argparse.Namespace, seed: int) -> dict:
    """The peer with the recipe of the keras_vit run of the same seed.

    Raises:
        ContenderError: the peer failed; it has said why on stderr.
    """
    recipe = run_folder(arguments, seed) / "recipe.yaml"
    command = [arguments.peer_python, HERE / "peer_timm_finetune.py", "--recipe", recipe, "--data", arguments.data]
    command += ["--weights", arguments.weights, "--seed", seed, "--threads", arguments.threads]
    start = time.perf_counter()
    figures = run_json([str(part) for part in command], show_stderr=True)
    return figures | {"wall_seconds": time.perf_counter() - start}


def run_folder(arguments: argparse.Namespace, seed: int) -> Path:
    """Where the keras_vit run of a seed lies."""
    return arguments.out / f"seed{seed}"


def summarise(runs: list[dict]) -> dict:
    """Means over the seeds of one contender."""
    return {
        "mean_top1": statistics.mean(run["top1"] for run in runs),
        "mean_last_top1": statistics.mean(run["last_top1"] for run in runs),
        "mean_wall_seconds": statistics.mean(run["wall_seconds"] for run in runs),
        "max_wall_seconds": max(run["wall_seconds"] for run in runs),
        "runs": runs,
    }


def show(results: dict[str, dict]) -> None:
    """Prints a row per run and a mean per contender."""
    table = Table("contender", "seed", "top-1 %", "last epoch %", "time s", "train", "val")
    for name, summary in results.items():
        for run in summary["runs"]:
            shares = [f"{100 * run[key]:.1f}" for key in ("top1", "last_top1")]
            counts = [str(run["train"]), str(run["val"])]
            table.add_row(name, str(run["seed"]), *shares, f"{run['wall_seconds']:.0f}", *counts)
        means = [f"{100 * summary[key]:.1f}" for key in ("mean_top1", "mean_last_top1")]
        table.add_row(name, "mean", *means, f"{summary['mean_wall_seconds']:.0f}", style="bold", end_section=True)
    Console().print(table)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with train/ and val/ class folders")
    add("--weights", type=Path, required=True, help="safetensors file with timm's names")
    add("--recipe", type=Path, default=ROOT / "recipes" / "hymenoptera.yaml", help="keras_vit recipe")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one run of each contender per seed (default 0 1 2)")
    add("--peer-python", help="interpreter of an environment with timm; without it only keras_vit runs")
    add("--threads", type=int, default=2, help="PyTorch's threads; TensorFlow takes all cores (default 2)")
    add("--set", action="append", default=[], metavar="PATH=VALUE", help="change a recipe setting, for both")
    out = ROOT / "saved_models" / "benchmark_hymenoptera"
    add("--out", type=Path, default=out, help="run folders and results.json go here; runs there are replaced")
    add("--min-top1", type=float, default=0.94, help="least mean top-1 of keras_vit (default 0.94)")
    add("--max-minutes", type=float, default=6.0, help="longest run of keras_vit (default 6)")
    arguments = parser.parse_args()
    for path in (arguments.data, arguments.weights, arguments.recipe):
        if not path.exists():
            parser.error(f"There is no {path}.")
    return arguments


def main() -> int:
    arguments = parse_arguments()
    contenders = {"keras_vit": run_keras_vit}
    if arguments.peer_python:
        contenders["timm"] = run_timm
    else:
        print("timm is left out: name its interpreter with --peer-python.", file=sys.stderr)
    runs: dict[str, list[dict]] = {name: [] for name in contenders}
    for seed in arguments.seeds:
        for name, run in contenders.items():
            print(f"--- {name}, seed {seed}", file=sys.stderr)
            try:
                runs[name].append(run(arguments, seed))
            except ContenderError as error:
                sys.exit(f"{name} did not finish with seed {seed}: {error}.")
    results = {name: summarise(finished) for name, finished in runs.items()}
    show(results)

    own = results["keras_vit"]
    bars = {
        f"mean top-1 at least {arguments.min_top1:.1%}": own["mean_top1"] >= arguments.min_top1,
        f"every run within {arguments.max_minutes:g} minutes": own["max_wall_seconds"] <= 60 * arguments.max_minutes,
    }
    if "timm" in results:
        sizes = {(run["train"], run["val"]) for summary in results.values() for run in summary["runs"]}
        bars["both contenders saw the same numbers of images"] = len(sizes) == 1
    for bar, met in bars.items():
        print(f"{'met' if met else 'MISSED'}: {bar}")
    write_json(arguments.out / "results.json", {"set": arguments.set, "results": results, "bars": bars})
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

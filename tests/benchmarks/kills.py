"""Twenty power cuts: a short run is killed at random moments and resumed until it ends, beside one that is left alone.

Each process of the killed run gets SIGKILL after a time drawn (with a seed) from 0 to half the length of the whole run,
so that some die while they start; then the same folder goes on with `--resume`. A run that ends before all kills are
spent is followed by another. All end in the same number of epochs, and their histories and test figures are compared.

    python tests/benchmarks/kills.py --kills 20 --seed 0 --out kills.json

Exit status 1 when a figure differs by more than `--tolerance`, or a resumed process fails.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import yaml
from fresh_process import ContenderError, write_json

from keras_vit.training.pace import PACE

SETTINGS = {
    "data": {"spec": "digits"},
    "model": {
        "name": "vit_mu4",
        "image_size": 16,
        "depth": 2,
        "dropout": 0.1,
        "drop_path": 0.1,
        "init": "xavier",
        "crop": 1.0,
    },
    "augment": {"mixup": 0.2, "flip": False},
    "train": {
        "epochs": 20,
        "batch_size": 32,
        "learning_rate": 0.003,
        "warmup_epochs": 1,
        "ema": 0.95,
        "save_minutes": 0.005,
    },
}
"""39 steps an epoch; a checkpoint about every third of a second."""


def command(recipe: Path, folder: Path) -> list[str]:
    """The run's command line: it resumes where there is a run."""
    words = [sys.executable, "-m", "keras_vit", "train", "--out", str(folder)]
    return [*words, "--resume"] if (folder / "recipe.yaml").is_file() else [*words, "--recipe", str(recipe)]


def killed(recipe: Path, folder: Path, after: float | None) -> str | None:
    """Runs until it ends (None) or is killed after so many seconds; then says how far it was.

    Raises:
        ContenderError: the process failed by itself.
    """
    with subprocess.Popen(
        command(recipe, folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            _, said = process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return place(folder)
    if process.returncode:
        raise ContenderError(said.strip().splitlines()[-1])
    return None


def place(folder: Path) -> str:
    """Where the newest checkpoint is, and what the kill tore."""
    checkpoints = folder / "checkpoints"
    torn = [path for path in folder.rglob("*") if ".partial-" in path.name]
    torn += [path for path in checkpoints.glob("*.safetensors") if not path.with_suffix(".json").exists()]
    newest = max((path.stem for path in checkpoints.glob("*.json")), default="no checkpoint yet")
    return newest + (f", {len(torn)} file(s) torn" if torn else "")


def outcome(folder: Path) -> dict:
    """History by figure and test figures of a finished run."""
    rows = list(csv.DictReader((folder / "history.csv").open()))
    history = {name: [float(row[name]) for row in rows] for name in rows[0] if name not in PACE}
    return {"history": history, "test": json.loads((folder / "metrics.json").read_text())["test"]}


def difference(one: dict, other: dict) -> float:
    """The largest relative difference of two outcomes; infinite where they have other figures or epochs."""
    pairs = [(one["test"], other["test"])]
    if one["history"].keys() != other["history"].keys() or len(one["history"]["loss"]) != len(other["history"]["loss"]):
        return math.inf
    for name, values in one["history"].items():
        pairs.append((dict(enumerate(values)), dict(enumerate(other["history"][name]))))
    found = [abs(a[key] - b[key]) / max(abs(a[key]), 1e-9) for a, b in pairs for key in a if a[key] is not None]
    return max(found)


def main() -> int:
    """Runs, kills, compares and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="relative difference of any figure")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as root:
        recipe = Path(root) / "recipe.yaml"
        recipe.write_text(yaml.safe_dump(SETTINGS))
        started = time.perf_counter()
        killed(recipe, Path(root) / "whole", None)
        seconds = time.perf_counter() - started
        whole = outcome(Path(root) / "whole")
        print(f"left alone: {seconds:.0f} s, test {whole['test']}", flush=True)
        places, differences = [], []
        while len(places) < arguments.kills or not differences:
            folder = Path(root) / f"killed-{len(differences)}"
            ended = False
            while not ended:
                after = moments.uniform(0, seconds / 2) if len(places) < arguments.kills else None
                where = killed(recipe, folder, after)
                ended = where is None
                if where:
                    places.append(where)
                    print(f"kill {len(places):>2} after {after:5.1f} s: {where}", flush=True)
            differences.append(difference(whole, outcome(folder)))
            print(f"ended: largest difference {differences[-1]:.2g}, test {outcome(folder)['test']}", flush=True)
    figures = {
        "kills": len(places),
        "runs": len(differences),
        "torn": sum("torn" in where for where in places),
        "inside_an_epoch": sum("step-" in where and "step-000000" not in where for where in places),
        "largest_difference": max(differences),
        "places": dict(Counter(places)),
        "epochs": len(whole["history"]["loss"]),
        "test": whole["test"],
    }
    if arguments.out:
        write_json(arguments.out, figures)
    print({name: value for name, value in figures.items() if name != "places"})
    return int(max(differences) > arguments.tolerance)


if __name__ == "__main__":
    sys.exit(main())

"""`keras-vit tune`."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_vit.cli.train import add_settings, gather
from keras_vit.errors import InputError

NAME = "tune"
HELP = "Search for better settings of a recipe; goes on where it was stopped, in several processes if you like."
EXAMPLES = """examples:
  keras-vit tune --recipe recipes/digits.yaml --epochs 8 --trials 20 --out saved_models/search
  keras-vit tune --data photos/ --model deit_ti16 --weights fb_in1k --out saved_models/search \\
      --search train.learning_rate=1e-5:1e-3:log --search model.drop_path=0.0:0.3:0.1 --search train.sam=0.0,0.05
  keras-vit train --recipe saved_models/search/best.yaml --epochs 30
  keras-vit tensorboard saved_models/search/trials
The same command again goes on with the search; run at the same time it shares the work.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    add_settings(parser)
    parser.add_argument(
        "--search",
        action="append",
        metavar="PATH=VALUES",
        help="a setting and its values: LOW:HIGH, LOW:HIGH:log, LOW:HIGH:STEP or A,B,C; by default learning rate, "
        "decay and regularisation around those of the recipe",
    )
    parser.add_argument("--trials", type=int, default=20, help="that the search has in all (default: %(default)s)")
    parser.add_argument("--no-pruning", action="store_true", help="train trials to the end that fall behind the others")


def run(arguments: argparse.Namespace) -> int:
    """Searches, and prints what each trial reached."""
    if not arguments.out:
        raise InputError("A search needs a folder that it can go on in: add --out.")
    settings = gather(arguments)
    from keras_vit.search import default_space, parse_axis, tune
    from keras_vit.search.outcome import BEST, PICTURE, TABLE, trial_row
    from keras_vit.training import Recipe

    folder = Path(settings.pop("out"))
    recipe = Recipe.from_dict(settings)
    space = dict(map(parse_axis, arguments.search)) if arguments.search else default_space(recipe)

    def told(trial):
        row = trial_row(trial)
        values = ", ".join(f"{path.split('.')[-1]} {_shown(value)}" for path, value in trial.params.items())
        reached = "" if row["value"] is None else f" {row['value']:.4f}"
        print(f"trial {trial.number}: {row['state']}{reached} ({values}) {row['reason']}".rstrip(), flush=True)

    best = tune(recipe, space, folder, trials=arguments.trials, pruning=not arguments.no_pruning, told=told)
    _print_table(folder / TABLE, space)
    for split, figures in best.metrics.items():
        print(f"{split} of the best trial: " + ", ".join(f"{name} {_shown(value)}" for name, value in figures.items()))
    print(f"run: {best.folder}")
    for name in (TABLE, PICTURE):
        print(folder / name)
    print(f"next: keras-vit train --recipe {folder / BEST}")
    return 0


def _print_table(path: Path, space) -> None:
    import csv

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    table = Table(title="trials", box=SIMPLE_HEAD, pad_edge=False)
    columns = ["trial", "state", "value", "epochs", *space]
    for column in columns:
        table.add_column(column.split(".")[-1].replace("_", " "), no_wrap=column == "state")
    for row in rows:
        table.add_row(*(_shown(row.get(column, "")) for column in columns))
    Console().print(table)


def _shown(value: object) -> str:
    try:
        return f"{float(value):.4g}"
    except (TypeError, ValueError):
        return "" if value is None else str(value)

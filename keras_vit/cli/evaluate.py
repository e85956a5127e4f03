"""`keras-vit evaluate`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from keras_vit.errors import InputError

NAME = "evaluate"
HELP = "Judge a run on a split of its own data or on other images."
EXAMPLES = """examples:
  keras-vit evaluate saved_models/run1
  keras-vit evaluate saved_models/run1 --split val
  keras-vit evaluate saved_models/run1 --data new_photos/ --split all --out check/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("run_folder", metavar="RUN", help="a run folder")
    parser.add_argument("--data", help="other data than the run's own, in any form that `train` reads")
    parser.add_argument("--split", default="test", choices=("train", "val", "test", "all"), help="default: test")
    parser.add_argument("--out", metavar="FOLDER", help="where pictures go; in RUN/evaluation by default")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--skip-bad", action="store_true", help="leave unreadable images out instead of stopping")


def run(arguments: argparse.Namespace) -> int:
    """Evaluates, prints the figures and says where the pictures are."""
    from keras_vit.cli.tables import print_per_class
    from keras_vit.data import align, load
    from keras_vit.evaluation.assess import evaluate
    from keras_vit.files import write_text
    from keras_vit.training import load_run
    from keras_vit.training.report import write_page
    from keras_vit.training.run import EVALUATION, METRICS

    found = load_run(arguments.run_folder)
    settings = found.recipe.data
    own = arguments.data is None
    whole = arguments.split == "all"
    data = align(
        load(
            settings.spec if own else arguments.data,
            val_fraction=0 if whole else settings.val_fraction,
            test_fraction=0 if whole else settings.test_fraction,
            seed=found.recipe.seed,
            skip_bad=arguments.skip_bad or (own and settings.skip_bad),
        ),
        found.class_names,
    )
    for note in data.notes:
        print(note)
    split = "train" if whole else arguments.split
    examples = data.splits.get(split)
    if examples is None:
        raise InputError(f"{data.spec} has no {split} split: choose --split from {', '.join(data.splits)}.")
    judged = evaluate(found.model, examples, found.class_names, batch_size=arguments.batch_size)
    folder = found.folder / EVALUATION
    if arguments.out:
        folder = Path(arguments.out)
    elif not own:
        # A folder of its own, so that the run's own pictures stay those of its own data.
        folder /= Path(arguments.data.replace(":", "-")).stem
    paths = judged.save(folder, arguments.split)
    if own and not arguments.out:
        found.metrics[arguments.split] = judged.figures
        write_text(found.folder / METRICS, json.dumps(found.metrics, indent=1))
        write_page(found.folder)
    else:
        write_text(folder / METRICS, json.dumps({arguments.split: judged.figures}, indent=1))
        paths.append(folder / METRICS)
    print_per_class(judged.per_class)
    print(json.dumps({arguments.split: judged.figures}))
    for path in paths:
        print(path)
    return 0

"""`keras-vit evaluate`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from keras_vit.cli.opened import ARGUMENT, Opened, load_data, open_model, split_of
from keras_vit.errors import InputError

if TYPE_CHECKING:
    from keras_vit.data import Examples
    from keras_vit.evaluation import Assessment
    from keras_vit.training.run import Run

NAME = "evaluate"
HELP = "Judge a run or an exported file on a split of the run's own data or on other images."
EXAMPLES = """examples:
  keras-vit evaluate saved_models/run1
  keras-vit evaluate saved_models/run1 --split val
  keras-vit evaluate saved_models/run1 --data new_photos/ --split all --out check/
  keras-vit evaluate saved_models/run1/export/model.tflite
  keras-vit evaluate elsewhere/model.onnx --data photos/ --split all
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("model", **ARGUMENT)
    parser.add_argument("--data", help="other data than the run's own, in any form that `train` reads")
    parser.add_argument("--split", default="test", choices=("train", "val", "test", "all"), help="default: test")
    parser.add_argument("--out", metavar="FOLDER", help="where pictures go; in RUN/evaluation by default")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--skip-bad", action="store_true", help="leave unreadable images out instead of stopping")


def run(arguments: argparse.Namespace) -> int:
    """Evaluates, prints the figures and says where the pictures are."""
    from keras_vit.tasks import judge

    found = open_model(arguments.model)
    if found.run is None and arguments.data is None:
        raise InputError(f"{found.file} lies in no run folder, whose data it could be judged on: add --data.")
    whole = arguments.split == "all"
    data = load_data(found.run, found.task, arguments.data, whole=whole, skip_bad=arguments.skip_bad)
    for note in data.notes:
        print(note)
    examples = split_of(data, "train" if whole else arguments.split)
    judged = judge(
        found.outputs, examples, found.preprocessing, found.task, batch_size=arguments.batch_size, progress=True
    )
    own = not (found.file or arguments.data or arguments.out)
    folder = _folder(arguments, found)
    paths = _looks(found.run, examples, judged, folder, arguments.split) if own else []
    _report(judged, arguments.split, folder, found.run if own else None, paths)
    return 0


def _folder(arguments: argparse.Namespace, found: Opened) -> Path:
    """Where pictures go: a folder of their own for each file and each other data, so that nothing is overwritten."""
    from keras_vit.training.run import EVALUATION

    if arguments.out:
        return Path(arguments.out)
    folder = (found.run.folder if found.run else found.file.parent) / EVALUATION
    if found.file:
        folder /= found.file.name.replace(".", "_")
    if arguments.data:
        folder /= Path(arguments.data.replace(":", "-")).stem
    return folder


def _report(judged: Assessment, split: str, folder: Path, run: Run | None, looks: list[Path]) -> None:
    """Writes pictures and figures, the latter into the run's own where they belong to it, and prints them."""
    from keras_vit.cli.tables import print_per_class
    from keras_vit.files import write_text
    from keras_vit.training.report import write_page
    from keras_vit.training.run import METRICS

    paths = [*judged.save(folder, split), *looks]
    if run:
        run.metrics[split] = judged.figures
        write_text(run.folder / METRICS, json.dumps(run.metrics, indent=1))
        write_page(run.folder)
    else:
        write_text(folder / METRICS, json.dumps({split: judged.figures}, indent=1))
        paths.append(folder / METRICS)
    print_per_class(judged.per_class)
    print(json.dumps({split: judged.figures}))
    for path in paths:
        print(path)


def _looks(run: Run, examples: Examples, judged: Assessment, folder: Path, split: str) -> list[Path]:
    """Writes the worst and the best examples of a run with what it looked at in them; where."""
    from keras_vit.explain import look_at

    looks = look_at(run.model, examples, run.task, judged.order, count=run.recipe.log.examples)
    return looks.save(folder, split) if looks else []

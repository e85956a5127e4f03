"""`keras-vit predict`."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_vit.cli.opened import ARGUMENT, Opened, open_model
from keras_vit.cli.pictures import picture_names, write_picture

if TYPE_CHECKING:
    from keras_vit.data import Examples

NAME = "predict"
HELP = "Let a run or an exported file say what it sees in images."
EXAMPLES = """examples:
  keras-vit predict saved_models/run1 cat.jpg
  keras-vit predict saved_models/run1 photos/ 'more/*.png' --csv predictions.csv
  keras-vit predict saved_models/run1 photos/ --json -
  keras-vit predict saved_models/run1/export/model.tflite photos/
  keras-vit predict saved_models/streets photos/ --draw out/      # masks or boxes over the photos
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("model", **ARGUMENT)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="images, folders (searched deeply) or patterns")
    parser.add_argument("--json", metavar="FILE", help="write JSON here; - prints it")
    parser.add_argument("--csv", metavar="FILE", help="write CSV here; - prints it")
    parser.add_argument("--draw", metavar="FOLDER", help="write each image with what was seen drawn over it")
    parser.add_argument("--top", type=int, default=3, help="classes to tell of each classified image (default: 3)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--skip-bad", action="store_true", help="leave unreadable images out instead of stopping")


def run(arguments: argparse.Namespace) -> int:
    """Predicts and prints a table, or writes JSON, CSV or pictures."""
    from keras_vit.cli.tables import print_records
    from keras_vit.data import find_images

    found = open_model(arguments.model)
    examples, notes = find_images(arguments.paths, skip_bad=arguments.skip_bad)
    quiet = "-" in (arguments.json, arguments.csv)
    said = found.task.predictions(
        found.outputs, examples, found.preprocessing, batch_size=arguments.batch_size, progress=not quiet
    )
    rows, pictures = [], picture_names(examples.names)
    for index, (prediction, name) in enumerate(zip(said, examples.names, strict=True)):
        rows.append(found.task.describe(prediction, name, arguments.top))
        if arguments.draw:
            _draw(found, examples, index, prediction, Path(arguments.draw) / pictures[index])
    records = [record for row in rows for record in found.task.records(row)]
    if arguments.json:
        _deliver(json.dumps(rows, indent=1) + "\n", arguments.json)
    if arguments.csv:
        _deliver(_as_csv(records, found.task.columns), arguments.csv)
    if not quiet:
        for note in notes:
            print(note)
        if not (arguments.json or arguments.csv):
            print_records(records)
        if arguments.draw:
            print(arguments.draw)
    return 0


def _draw(found: Opened, examples: Examples, index: int, prediction: object, path: Path) -> None:
    from keras_vit.tasks.task import original

    image = original(examples, index, found.preprocessing.channels)
    write_picture(found.task.overlay(image, prediction), path)


def _as_csv(records: list[dict], columns: Sequence[str]) -> str:
    text = io.StringIO()
    named = dict.fromkeys((*columns, *(key for record in records for key in record)))
    writer = csv.DictWriter(text, list(named), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _deliver(text: str, where: str) -> None:
    from keras_vit.files import write_text

    if where == "-":
        print(text, end="")
    else:
        write_text(where, text)
        print(where)

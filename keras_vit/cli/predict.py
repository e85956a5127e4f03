"""`keras-vit predict`."""

from __future__ import annotations

import argparse
import csv
import io
import json

from keras_vit.cli.classifier import ARGUMENT, open_classifier

NAME = "predict"
HELP = "Classify images with a run or an exported file."
EXAMPLES = """examples:
  keras-vit predict saved_models/run1 cat.jpg
  keras-vit predict saved_models/run1 photos/ 'more/*.png' --csv predictions.csv
  keras-vit predict saved_models/run1 photos/ --json -
  keras-vit predict saved_models/run1/export/model.tflite photos/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("classifier", **ARGUMENT)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="images, folders (searched deeply) or patterns")
    parser.add_argument("--json", metavar="FILE", help="write JSON here; - prints it")
    parser.add_argument("--csv", metavar="FILE", help="write CSV here; - prints it")
    parser.add_argument("--top", type=int, default=3, help="classes to tell of each image (default: 3)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--skip-bad", action="store_true", help="leave unreadable images out instead of stopping")


def run(arguments: argparse.Namespace) -> int:
    """Predicts and prints a table, or writes JSON or CSV."""
    from keras_vit.cli.tables import print_predictions
    from keras_vit.data import find_images
    from keras_vit.evaluation import predictions_table
    from keras_vit.evaluation.assess import predict_logits
    from keras_vit.export.assess import file_logits
    from keras_vit.export.predictor import Predictor

    found = open_classifier(arguments.classifier)
    examples, notes = find_images(arguments.paths, skip_bad=arguments.skip_bad)
    quiet = "-" in (arguments.json, arguments.csv)
    settings = {"batch_size": arguments.batch_size, "progress": not quiet}
    if isinstance(found, Predictor):
        logits = file_logits(found, examples, **settings)
    else:
        logits = predict_logits(found.model, examples, **settings)
    rows = predictions_table(logits, found.class_names, examples.names, top=arguments.top)
    if arguments.json:
        _deliver(json.dumps(rows, indent=1) + "\n", arguments.json)
    if arguments.csv:
        _deliver(_as_csv(rows), arguments.csv)
    if not quiet:
        for note in notes:
            print(note)
        if not (arguments.json or arguments.csv):
            print_predictions(rows)
    return 0


def _as_csv(rows: list[dict]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ranks = range(1, len(rows[0]["top"]) + 1)
    writer.writerow(["file", *(f"{what}{rank}" for rank in ranks for what in ("class", "probability"))])
    for row in rows:
        cells = [cell for guess in row["top"] for cell in (guess["name"], f"{guess['probability']:.6f}")]
        writer.writerow([row["file"], *cells])
    return text.getvalue()


def _deliver(text: str, where: str) -> None:
    from keras_vit.files import write_text

    if where == "-":
        print(text, end="")
    else:
        write_text(where, text)
        print(where)

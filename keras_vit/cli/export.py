"""`keras-vit export`."""

from __future__ import annotations

import argparse

NAME = "export"
HELP = "Export a run; every file is run and compared with the model it came from."
EXAMPLES = """examples:
  keras-vit export saved_models/run1
  keras-vit export saved_models/run1 --formats tflite,tflite-int8,onnx
  keras-vit export saved_models/run1 --auto --max-drop 0.5      # the fastest file that loses at most half a point
  keras-vit export saved_models/run1 --auto integer             # the same for NPUs and microcontrollers
  keras-vit export saved_models/run1 --allow-drop --out bundle/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("run_folder", metavar="RUN", help="a run folder")
    parser.add_argument(
        "--formats",
        default="saved_model,tflite,tflite-int8-dynamic",
        help="of saved_model, tflite, tflite-float16, tflite-int8-dynamic, tflite-int8, tflite-int8-int16, "
        "tflite-int16, tflite-int8-weights, tflite-int4-weights, onnx, onnx-int8 (default: %(default)s)",
    )
    parser.add_argument("--out", metavar="FOLDER", help="RUN/export by default")
    parser.add_argument(
        "--auto",
        nargs="?",
        const="fast",
        metavar="GOAL",
        help="also search the fastest quantised file within --max-drop: fast (default) or integer",
    )
    parser.add_argument(
        "--max-drop",
        type=float,
        default=1.0,
        help="points of the task's metric (accuracy, mIoU, AP) that a quantised file may lose (default: 1)",
    )
    parser.add_argument("--allow-drop", action="store_true", help="keep files that miss the tolerance")
    parser.add_argument(
        "--validate-on",
        "--limit",
        dest="limit",
        type=int,
        default=1000,
        metavar="N",
        help="validation images to run (default: %(default)s)",
    )
    parser.add_argument("--license", default="", help="of the weights, for the metadata of the files")
    parser.add_argument("--description", default="", help="of the model, likewise")


def run(arguments: argparse.Namespace) -> int:
    """Exports, prints the table of what it cost, and fails if a file missed its tolerance."""
    from pathlib import Path

    from keras_vit.data import load
    from keras_vit.export import ExportMissed, export, print_table
    from keras_vit.training import load_run
    from keras_vit.training.report import write_page
    from keras_vit.training.run import EXPORT

    found = load_run(arguments.run_folder)
    settings = found.recipe.data
    data = load(
        settings.spec,
        labels=found.task.labels,
        val_fraction=settings.val_fraction,
        test_fraction=settings.test_fraction,
        seed=found.recipe.seed,
        skip_bad=settings.skip_bad,
    )
    out = Path(arguments.out) if arguments.out else found.folder / EXPORT
    status, missed = 0, None
    try:
        report = export(
            found.model,
            out,
            task=found.task,
            validation=data.val,
            calibration=data.train,
            formats=[name.strip() for name in arguments.formats.split(",") if name.strip()],
            auto=arguments.auto,
            max_drop=arguments.max_drop,
            allow_drop=arguments.allow_drop,
            license=arguments.license,
            description=arguments.description,
            limit=arguments.limit,
        )
    except ExportMissed as error:
        report, status, missed = error.report, 1, error
    print_table(report)
    if not arguments.out:
        write_page(found.folder)
    print(out)
    if missed:
        print(missed)
    return status

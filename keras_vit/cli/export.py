"""`keras-vit export`."""

from __future__ import annotations

import argparse

NAME = "export"
HELP = "Export a run; every file is run and compared with the model it came from."
EXAMPLES = """examples:
  keras-vit export saved_models/run1
  keras-vit export saved_models/run1 --formats tflite,tflite-int8-dynamic
  keras-vit export saved_models/run1 --allow-drop --out bundle/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("run_folder", metavar="RUN", help="a run folder")
    parser.add_argument("--formats", default="saved_model,tflite,tflite-int8-dynamic", help="default: %(default)s")
    parser.add_argument("--out", metavar="FOLDER", help="RUN/export by default")
    parser.add_argument("--allow-drop", action="store_true", help="keep files that miss the tolerance")
    parser.add_argument("--limit", type=int, default=1000, help="validation images to run (default: %(default)s)")


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
            class_names=found.class_names,
            validation=data.val,
            formats=[name.strip() for name in arguments.formats.split(",") if name.strip()],
            allow_drop=arguments.allow_drop,
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

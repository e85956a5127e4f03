"""`keras-vit probe`."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_vit.cli.encoders import Encoder, add_encoder_arguments, open_data, open_encoder
from keras_vit.cli.opened import split_of
from keras_vit.errors import InputError

if TYPE_CHECKING:
    from keras_vit.data import Data, Examples
    from keras_vit.preprocessing import Preprocessing
    from keras_vit.probing import Probed

NAME = "probe"
HELP = "Judge an encoder by its frozen features: k-nearest neighbours and a linear probe on labelled images."
EXAMPLES = """examples:
  keras-vit probe deit_ti16 --weights deit_tiny.safetensors --data photos/
  keras-vit probe saved_models/run1 --split test --method linear --c 0.1
  keras-vit probe dinov2_s14 --weights lvd142m --image-size 224 --data photos/ --pooling both --json probe.json
  keras-vit probe saved_models/run1 --nearest 5 --out nearest/          # pictures: what an image is near to
  keras-vit probe deit_ti16 --weights random --data photos/             # what an untrained encoder gives
"""

ROWS = 12
"""So many images are drawn with their nearest."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_encoder_arguments(parser)
    parser.add_argument("--method", default="knn,linear", help="of knn and linear (default: %(default)s)")
    parser.add_argument("--k", default="10,20", help="numbers of neighbours (default: %(default)s)")
    parser.add_argument(
        "--c", type=float, help="inverse strength of the linear probe's penalty; chosen by cross-validation by default"
    )
    parser.add_argument("--split", default="val", choices=("val", "test"), help="what is judged (default: val)")
    parser.add_argument("--json", metavar="FILE", help="write JSON here; - prints it")
    parser.add_argument(
        "--nearest", type=int, metavar="N", help="also find each judged image's N nearest training images"
    )
    parser.add_argument("--out", metavar="FOLDER", help="where --nearest goes: a contact sheet and JSON of all images")
    parser.add_argument("--seed", type=int, default=0, help="of folds, of splits that are made, and of random weights")


def run(arguments: argparse.Namespace) -> int:
    """Probes, prints a table, and writes what was asked for."""
    from keras_vit.probing import Embedder, probe
    from keras_vit.probing.embedded import check_writable
    from keras_vit.probing.knn import check_k
    from keras_vit.probing.probe import check_settings

    settings = {"methods": arguments.method.split(","), "k": _numbers(arguments.k), "c": arguments.c}
    if (arguments.nearest is None) != (arguments.out is None):
        raise InputError("--nearest N and --out FOLDER belong together: give both, or none.")
    if arguments.out:
        check_writable(Path(arguments.out))
    if arguments.json and arguments.json != "-":
        check_writable(Path(arguments.json).parent)
    # Standard output is for JSON alone where it is asked for.
    with contextlib.redirect_stdout(sys.stderr if arguments.json == "-" else sys.stdout):
        encoder = open_encoder(arguments)
        embedder = Embedder(encoder.model, arguments.pooling)
        data = _data(arguments, encoder)
        for note in data.notes:
            print(note)
        judged = split_of(data, arguments.split)
        check_settings(data.train.labels, data.class_names, **settings)
        if arguments.nearest is not None:
            check_k(arguments.nearest, len(data.train))
        features = [embedder.embed(part, batch_size=arguments.batch_size) for part in (data.train, judged)]
        found = probe(
            *zip(features, (data.train.labels, judged.labels), strict=True),
            data.class_names,
            **settings,
            seed=arguments.seed,
            progress=True,
        )
        _print(arguments, encoder, embedder.width, data, judged, found)
        if arguments.nearest is not None:
            _write_nearest(arguments, features, data, judged, embedder.preprocessing)
    if arguments.json:
        _write_json(arguments, encoder, embedder.width, data, found)
    return 0


def _data(arguments: argparse.Namespace, encoder: Encoder) -> Data:
    from keras_vit.data import CLASSES

    if arguments.data is None and encoder.run and encoder.run.task.labels is not CLASSES:
        raise InputError(
            f"The data of {arguments.model} has no class for each image, which a probe learns: add --data with "
            "images that have."
        )
    return open_data(arguments, encoder, labels=CLASSES, carved=(arguments.split,))


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"--k takes whole numbers with commas between them, such as 10,20, not {text!r}.") from None


def _print(
    arguments: argparse.Namespace,
    encoder: Encoder,
    width: int,
    data: Data,
    judged: Examples,
    found: Sequence[Probed],
) -> None:
    from rich.console import Console
    from rich.table import Table

    from keras_vit.cli.tables import print_per_class

    print(
        f"{encoder.model.name} ({encoder.weights}), {width} features an image: "
        f"{len(data.train)} train, {len(judged)} {arguments.split}"
    )
    columns = [name for name in ("top1", "top5", "loss", "ece") if any(name in each.figures for each in found)]
    table = Table("probe", *columns)
    for each in found:
        shown = (each.figures.get(name) for name in columns)
        table.add_row(_name(each), *("" if value is None else f"{value:.4f}" for value in shown))
    Console().print(table)
    best = max(found, key=lambda each: each.figures["top1"])
    print(f"per class, {_name(best)}:")
    print_per_class(best.per_class)


def _name(found: Probed) -> str:
    told = ", ".join(f"{name} {value:g}" for name, value in found.settings.items() if name != "temperature")
    return f"{found.method}, {told}"


def _write_json(
    arguments: argparse.Namespace, encoder: Encoder, width: int, data: Data, found: Sequence[Probed]
) -> None:
    from keras_vit.files import write_text

    record = {
        "model": encoder.model.name,
        "weights": encoder.weights,
        "data": data.spec,
        "data_fingerprint": data.fingerprint,
        "pooling": arguments.pooling,
        "features": width,
        "train": len(data.train),
        "seed": arguments.seed,
        "probes": [
            {
                "method": each.method,
                **each.settings,
                arguments.split: dict(each.figures),
                "per_class": list(each.per_class),
            }
            for each in found
        ],
    }
    text = json.dumps(record, indent=1) + "\n"
    if arguments.json == "-":
        print(text, end="")
    else:
        write_text(arguments.json, text)
        print(arguments.json)


def _write_nearest(
    arguments: argparse.Namespace,
    features: Sequence[np.ndarray],
    data: Data,
    judged: Examples,
    preprocessing: Preprocessing,
) -> None:
    from keras_vit.evaluation import save_png
    from keras_vit.files import write_text
    from keras_vit.probing import nearest_records, nearest_sheet, neighbours

    similarities, indices = neighbours(*features, arguments.nearest, progress=True)
    records = nearest_records(judged, data.train, similarities, indices, data.class_names)
    # Evenly spread over the split, so that all classes are seen.
    rows = np.unique(np.linspace(0, len(judged) - 1, ROWS).round().astype(int))
    sheet = nearest_sheet(
        judged.subset(rows), data.train, similarities[rows], indices[rows], data.class_names, preprocessing
    )
    folder = Path(arguments.out)
    save_png(sheet, folder / "nearest.png")
    write_text(folder / "nearest.json", json.dumps(records, indent=1))
    print(folder / "nearest.png")
    print(folder / "nearest.json")

"""What exported files of DeiT-Ti get right on 1000 ImageNet photos, beside the Keras model that they were made of.

    python tests/benchmarks/edge_accuracy.py --data imagenet_sample --weights deit_tiny.safetensors --files FOLDER \\
        --ours dynamic=model_int8_dynamic.tflite full_int8=model_int8.tflite --json accuracy.json

Takes `stock*_ti16.tflite` of FOLDER, which `edge_latency.py` makes, `outliers*_ti16.tflite`, which
`edge_contenders.py --outliers` makes, and any files of ours. The bars are losses against the Keras model in float32,
in points of top-1, and agreement with it. Exit status 1 when one is missed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from edge_runtimes import open_file
from fresh_process import write_json
from rich.console import Console
from rich.progress import track
from rich.table import Table


@dataclass(frozen=True)
class Accuracy:
    """Top-1 of a file, points of it lost, and on how many images it chooses the model's class; all in percent."""

    top1: float
    drop: float
    agreement: float


BARS = {
    "ours_float32": lambda file: file.agreement == 100,
    "ours_dynamic": lambda file: file.drop <= 0.3 and file.agreement >= 98,
    "ours_full_int8": lambda file: file.drop <= 1.0,
    "ours_int16": lambda file: file.drop <= 0.3,
    "ours_reduced": lambda file: file.drop <= 1.0,
    "ours_outliers": lambda file: file.drop <= 1.0,
    "outliers_full_int8": lambda file: file.drop > 10,
}
"""Name of a file -> what it is to reach. The last shows that the outliers are hard, for others."""


def source(data: str, weights: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photos (n, H, W, 3) uint8 as the model reads them, their classes (n,) and the Keras model's answers (n,)."""
    import keras_vit
    from keras_vit.data import eval_dataset, load

    model = keras_vit.build("deit_ti16", num_classes=1000, weights=weights)
    photos = load(data, val_fraction=0, test_fraction=0, progress=False).train
    batches = eval_dataset(photos, keras_vit.preprocessing_of(model), num_classes=1000, batch_size=25)
    images, labels, answers = [], [], []
    for pixels, classes in track(batches, "Keras model", console=Console(stderr=True), total=-(-len(photos) // 25)):
        images.append(pixels.numpy().round().astype("uint8"))
        labels.append(classes.numpy().argmax(-1))
        answers.append(np.asarray(model(images[-1].astype("float32"), training=False)).argmax(-1))
    return np.concatenate(images), np.concatenate(labels), np.concatenate(answers)


def assess(path: Path, images: np.ndarray, labels: np.ndarray, answers: np.ndarray, threads: int) -> Accuracy:
    """Runs a file on all photos."""
    file = open_file(path, threads)
    chosen = np.empty(len(images), int)
    for index in track(range(len(images)), path.name, console=Console(stderr=True)):
        file.feed(images[index : index + 1].astype(file.dtype))
        file.call()
        chosen[index] = file.result().argmax()
    top1, of_model = (100 * float((given == labels).mean()) for given in (chosen, answers))
    return Accuracy(top1, of_model - top1, 100 * float((chosen == answers).mean()))


def named_file(text: str) -> tuple[str, Path]:
    """`dynamic=FILE` -> ("ours_dynamic", FILE)."""
    name, _, path = text.partition("=")
    if not name or not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE with a file that is there")
    return f"ours_{name}", Path(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="labelled photos of the 1000 classes")
    parser.add_argument("--weights", required=True, help="of DeiT-Ti, in timm's names")
    parser.add_argument("--files", type=Path, metavar="FOLDER", help="of edge_latency.py")
    parser.add_argument("--ours", nargs="+", type=named_file, default=[], metavar="NAME=FILE", help="names as in BARS")
    parser.add_argument("--threads", type=int, default=2, help="default 2")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    arguments = parser.parse_args()

    found = sorted(arguments.files.glob("*_ti16.tflite")) if arguments.files else []
    files = {path.stem.removesuffix("_ti16"): path for path in found if path.name.startswith(("stock", "outliers"))}
    images, labels, answers = source(arguments.data, arguments.weights)
    print(f"The Keras model has {100 * (answers == labels).mean():.1f} % of {len(labels)} photos right.")
    table, reached = Table("file", "top-1 %", "points lost", "agreement %"), {}
    for name, path in (files | dict(arguments.ours)).items():
        reached[name] = assess(path, images, labels, answers, arguments.threads)
        table.add_row(name, *(f"{value:.1f}" for value in asdict(reached[name]).values()))
    Console().print(table)
    bars = {name: BARS[name](accuracy) for name, accuracy in reached.items() if name in BARS}
    for name, met in bars.items():
        print(f"{'met' if met else 'MISSED'}: {name}")
    if arguments.json:
        write_json(arguments.json, {"files": {name: asdict(value) for name, value in reached.items()}, "bars": bars})
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

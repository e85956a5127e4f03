"""`keras-vit embed`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from keras_vit.cli.encoders import Encoder, add_encoder_arguments, open_data, open_encoder
from keras_vit.cli.opened import split_of
from keras_vit.errors import InputError

if TYPE_CHECKING:
    from keras_vit.data import Examples

NAME = "embed"
HELP = "Write the features that a run's or a pretrained encoder has for images, as arrays in an .npz."
EXAMPLES = """examples:
  keras-vit embed saved_models/run1 photos/ --out features.npz
  keras-vit embed saved_models/run1 --split val --out val.npz             # with labels
  keras-vit embed dinov2_s14 photos/ --weights lvd142m --image-size 224 --out features.npz
  keras-vit embed deit_ti16 --weights deit_tiny.safetensors --data photos/ --split train --out train.npz
"""

SPLITS = ("train", "val", "test", "all")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_encoder_arguments(parser)
    paths = parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="images, folders (searched deeply) or patterns"
    )
    # Not "*": argparse would take that for given, and empty, at the first flag.
    paths.required = False
    parser.add_argument("--split", choices=SPLITS, help="instead of PATHs: a split of the data, with its labels")
    parser.add_argument("--out", required=True, metavar="FILE", help="an .npz: features, files, labels, class_names")
    parser.add_argument("--seed", type=int, default=0, help="of splits that are made, and of random weights")


def run(arguments: argparse.Namespace) -> int:
    """Embeds, writes the file and says what is in it."""
    from keras_vit.probing import Embedded, Embedder
    from keras_vit.probing.embedded import check_out

    if bool(arguments.paths) == bool(arguments.split):
        raise InputError("Give either images and folders, or --split (and --data) for labelled ones.")
    if arguments.paths and arguments.data:
        raise InputError("--data is for labelled images of a --split: leave it, or leave the paths out.")
    check_out(arguments.out)
    encoder = open_encoder(arguments)
    embedder = Embedder(encoder.model, arguments.pooling)
    examples, class_names, notes = _examples(arguments, encoder)
    for note in notes:
        print(note)
    features = embedder.embed(examples, batch_size=arguments.batch_size)
    labels = examples.labels if class_names else None
    Embedded(features, examples.names, labels, class_names).save(arguments.out)
    print(f"{arguments.out}: {len(features)} images, {embedder.width} features each")
    return 0


def _examples(arguments: argparse.Namespace, encoder: Encoder) -> tuple[Examples, list[str] | None, list[str]]:
    """The images, the names of their classes where they have one each, and notes."""
    from keras_vit.data import CLASSES, find_images

    if arguments.paths:
        examples, notes = find_images(arguments.paths, skip_bad=arguments.skip_bad)
        return examples, None, notes
    kind = encoder.run.task.labels if encoder.run else CLASSES
    carved = () if arguments.split == "all" else ("val", "test")
    data = open_data(arguments, encoder, labels=kind, carved=carved)
    examples = split_of(data, "train" if arguments.split == "all" else arguments.split)
    return examples, data.class_names if kind is CLASSES else None, data.notes

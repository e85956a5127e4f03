"""`keras-vit data`."""

from __future__ import annotations

import argparse

NAME = "data"
HELP = "Pack a data set of small files into a few large ones, or say what a data set holds."
EXAMPLES = """examples:
  keras-vit data info photos/
  keras-vit data pack photos/ packed/
  keras-vit train --data packed/ --model vit_s16
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, act, says in (
        ("info", _info, "Check every image and count them by split and class."),
        ("pack", _pack, "Write TFRecord shards, which train reads as --data; for data with one class an image."),
    ):
        action = actions.add_parser(name, help=says, description=says)
        action.add_argument("source", metavar="SOURCE", help="what train takes as --data")
        action.add_argument(
            "--val-fraction", type=float, default=0.15, help="where there is no such split (%(default)s)"
        )
        action.add_argument("--test-fraction", type=float, default=0.15, help="likewise (%(default)s)")
        action.add_argument("--seed", type=int, default=0, help="of the splits that are made (%(default)s)")
        action.add_argument("--skip-bad", action="store_true", help="leave unreadable images out")
        action.set_defaults(act=act)
        if name == "pack":
            action.add_argument("out", metavar="OUT", help="a new folder")


def run(arguments: argparse.Namespace) -> int:
    """Reads and checks the data, then does what was asked for."""
    from keras_vit.data import load

    data = load(
        arguments.source,
        val_fraction=arguments.val_fraction,
        test_fraction=arguments.test_fraction,
        seed=arguments.seed,
        skip_bad=arguments.skip_bad,
    )
    for note in data.notes:
        print(note)
    arguments.act(arguments, data)
    return 0


def _info(arguments: argparse.Namespace, data) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("class", *data.splits)
    for name in data.class_names:
        table.add_row(name, *(str(counts[name]) for counts in data.counts.values()))
    table.add_section()
    table.add_row("all", *(str(len(examples)) for examples in data.splits.values()))
    Console().print(table)
    print(f"fingerprint {data.fingerprint}")


def _pack(arguments: argparse.Namespace, data) -> None:
    from keras_vit.data.pack import pack

    folder = pack(data, arguments.out)
    shards = sorted(folder.glob("*.tfrecord"))
    size = sum(shard.stat().st_size for shard in shards) / 1e6
    print(f"{folder}: {sum(map(len, data.splits.values()))} images in {len(shards)} shard(s), {size:.1f} MB")

"""`keras-vit models`."""

from __future__ import annotations

import argparse

from keras_vit.errors import InputError
from keras_vit.variants import list_models, parse

NAME = "models"
HELP = "List the architectures and their sizes, or published weights."
EXAMPLES = """examples:
  keras-vit models
  keras-vit models 'vit_b*'
  keras-vit models --weights vit_b16
  keras-vit models --weights '*in21k*'
"""

PIPED_WIDTH = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("pattern", nargs="?", default="*", help="as in a shell, for instance 'vit_b*'")
    parser.add_argument("--weights", action="store_true", help="list published weights, `architecture.tag`")


def run(arguments: argparse.Namespace) -> int:
    """Prints a table."""
    (_print_weights if arguments.weights else _print_models)(arguments.pattern)
    return 0


def _print_models(pattern: str) -> None:
    from rich.console import Console
    from rich.table import Table

    names = list_models(pattern)
    if not names:
        raise InputError(f"No architecture is named like {pattern!r}: `keras-vit models` lists all.")
    table = Table("name", "width", "depth", "heads", "MLP", "patch", "pooling")
    for name in names:
        variant = parse(name)
        size = variant.size
        numbers = (size.width, size.depth, size.num_heads, size.mlp_dim, variant.patch)
        table.add_row(name, *map(str, numbers), variant.family.pooling)
    Console().print(table)
    print("Any other patch size is accepted too, for instance vit_ti4. Published weights: keras-vit models --weights")


def _print_weights(pattern: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from keras_vit.weights.catalogue import find, list_weights

    names = list_weights(pattern)
    if not names:
        raise InputError(f"No published weights are named like {pattern!r}: `keras-vit models --weights` lists all.")
    table = Table("architecture", "tag", "pixels", "classes", "MB", "top-1", "licence")
    for column in table.columns[:2]:
        column.no_wrap = True  # names are there to be copied
    for name in names:
        entry = find(*name.split(".", 1))
        top1 = f"{entry.top1:.1%}" if entry.top1 else ""
        size = "x".join(str(side) for side in dict.fromkeys(entry.image_size))
        table.add_row(
            entry.architecture, entry.tag, size, str(entry.classes), f"{entry.megabytes:.0f}", top1, entry.licence
        )
    # Piped, nothing says how wide the reader is, and names must not be cut.
    console = Console()
    (console if console.is_terminal else Console(width=PIPED_WIDTH)).print(table)
    print(
        "Top-1: ImageNet-1k validation, where it was published. keras-vit train --model ARCHITECTURE --weights TAG ..."
    )

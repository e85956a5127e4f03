"""`keras-vit models`."""

from __future__ import annotations

import argparse

from keras_vit.errors import InputError
from keras_vit.variants import list_models, parse

NAME = "models"
HELP = "List the architectures and their sizes."
EXAMPLES = """examples:
  keras-vit models
  keras-vit models 'vit_b*'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("pattern", nargs="?", default="*", help="as in a shell, for instance 'vit_b*'")


def run(arguments: argparse.Namespace) -> int:
    """Prints a table."""
    from rich.console import Console
    from rich.table import Table

    names = list_models(arguments.pattern)
    if not names:
        raise InputError(f"No architecture is named like {arguments.pattern!r}: `keras-vit models` lists all.")
    table = Table("name", "width", "depth", "heads", "MLP", "patch", "pooling")
    for name in names:
        variant = parse(name)
        size = variant.size
        numbers = (size.width, size.depth, size.num_heads, size.mlp_dim, variant.patch)
        table.add_row(name, *map(str, numbers), variant.family.pooling)
    Console().print(table)
    print("Any other patch size is accepted too, for instance vit_ti4.")
    return 0

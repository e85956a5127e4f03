"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table


def print_per_class(rows: Sequence[dict]) -> None:
    """Precision, recall and F1 of every class."""
    table = Table("class", "precision", "recall", "F1", "images")
    for row in rows:
        shown = (f"{row[name]:.3f}" for name in ("precision", "recall", "f1"))
        table.add_row(row["name"], *shown, str(row["support"]))
    Console().print(table)


def print_predictions(rows: Sequence[dict]) -> None:
    """Every image with its likeliest classes."""
    table = Table("image", "class", "probability", "next")
    for row in rows:
        first, *others = row["top"]
        following = ", ".join(f"{other['name']} {other['probability']:.1%}" for other in others)
        table.add_row(row["file"], first["name"], f"{first['probability']:.1%}", following)
    Console().print(table)

"""Tables for the terminal."""

from __future__ import annotations

import os
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
    """Every image with its likeliest classes; the folder that they share is said once."""
    paths = [row["file"] for row in rows]
    shared = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    table = Table("image", "class", "probability", "next", title=f"in {shared}", title_justify="left")
    for row in rows:
        first, *others = row["top"]
        following = ", ".join(f"{other['name']} {other['probability']:.1%}" for other in others)
        table.add_row(os.path.relpath(row["file"], shared), first["name"], f"{first['probability']:.1%}", following)
    Console().print(table)

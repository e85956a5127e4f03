"""Tables for the terminal."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table


def print_per_class(rows: Sequence[Mapping]) -> None:
    """The figures of every class: shares with three digits, counts whole."""
    table = Table(*("class" if column == "name" else column for column in rows[0]))
    for row in rows:
        table.add_row(*(_shown(value) for value in row.values()))
    Console().print(table)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def print_records(records: Sequence[Mapping]) -> None:
    """What was seen in each image; the folder that the images share is said once."""
    if not records:
        print("Nothing was found in the images.")
        return
    shared = os.path.commonpath([os.path.dirname(os.path.abspath(record["file"])) for record in records])
    columns = dict.fromkeys(key for record in records for key in record)
    table = Table(*("image" if c == "file" else c for c in columns), title=f"in {shared}", title_justify="left")
    for record in records:
        cells = {**record, "file": os.path.relpath(record["file"], shared)}
        table.add_row(*(str(cells.get(column, "")) for column in columns))
    Console().print(table)

"""What a split of the data says about a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keras_vit.files import write_bytes, write_text


@dataclass(frozen=True)
class Assessment:
    """Figures and pictures of a judged split.

    Attributes:
        figures: name -> value; shares as fractions, counts as whole numbers.
        per_class: a row a class, its `name` first.
        pictures: name -> PNG, such as `confusion` and `mistakes`.
        order: indices of the examples from the worst to the best; None where the task does not rank them.
    """

    figures: dict[str, float | int | None]
    per_class: list[dict]
    pictures: dict[str, bytes]
    order: Sequence[int] | None = None

    def save(self, folder: Path, split: str) -> list[Path]:
        """Writes the pictures and `per_class.json` as `<split>_*`, and says where."""
        paths = [folder / f"{split}_{name}.png" for name in self.pictures]
        for path, png in zip(paths, self.pictures.values(), strict=True):
            write_bytes(path, png)
        table = folder / f"{split}_per_class.json"
        write_text(table, json.dumps(self.per_class, indent=1))
        return [*paths, table]

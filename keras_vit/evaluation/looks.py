"""Examples for a person to look at: the photo, what was said of it, and what in it the answer comes from."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from keras_vit.evaluation.colours import class_colours
from keras_vit.files import write_bytes, write_text

GAP = 6
"""White pixels between the panels of a picture."""
QUALITY = 88
"""Of the JPEG files: a page of photos as PNG would be too large to send."""


@dataclass(frozen=True)
class Look:
    """One judged example.

    Attributes:
        name: of the image.
        words: what the model said of it, and below that what is true and how good that is.
        right: whether the model was right; None where that is no question of yes or no.
        panels: what each part of the picture is, from left to right.
        picture: a JPEG file, made by `strip`.
        legend: class name -> `#rrggbb` that it is drawn in; empty where nothing is drawn in colours of classes.
    """

    name: str
    words: tuple[str, ...]
    right: bool | None
    panels: tuple[str, ...]
    picture: bytes
    legend: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Looks:
    """The examples of a split that are worth looking at.

    Attributes:
        method: how it was found what the model looked at, as a sentence or two.
        worst: the worst first.
        best: the best first.
    """

    method: str
    worst: tuple[Look, ...]
    best: tuple[Look, ...]

    def save(self, folder: Path, split: str) -> list[Path]:
        """Writes the pictures into `<split>_looks/`, and `<split>_looks.json` with the rest; says where."""
        paths, record = [], {"method": self.method}
        for group in ("worst", "best"):
            record[group] = []
            for place, look in enumerate(getattr(self, group), start=1):
                paths.append(folder / f"{split}_looks" / f"{group}_{place}.jpg")
                write_bytes(paths[-1], look.picture)
                record[group].append({**dataclasses.asdict(look), "picture": paths[-1].relative_to(folder).as_posix()})
        table = folder / f"{split}_looks.json"
        write_text(table, json.dumps(record, indent=1))
        return [*paths, table]


def load_looks(folder: Path, split: str) -> Looks | None:
    """What `Looks.save` wrote for a split; None where there is nothing."""
    table = folder / f"{split}_looks.json"
    if not table.is_file():
        return None
    record = json.loads(table.read_text(encoding="utf-8"))
    groups = {
        group: tuple(
            Look(
                row["name"],
                tuple(row["words"]),
                row["right"],
                tuple(row["panels"]),
                (folder / row["picture"]).read_bytes(),
                row["legend"],
            )
            for row in record[group]
        )
        for group in ("worst", "best")
    }
    return Looks(record["method"], **groups)


def strip(pictures: Sequence[np.ndarray]) -> bytes:
    """Pictures of one size side by side as a JPEG file.

    Args:
        pictures: n arrays (H, W, 3) uint8.
    """
    buffer = io.BytesIO()
    Image.fromarray(tiled(pictures, len(pictures))).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def tiled(pictures: Sequence[np.ndarray], columns: int, gap: int = GAP) -> np.ndarray:
    """Pictures of one size row by row, white between them and where the last row has none.

    Args:
        pictures: n arrays (H, W, 3) uint8.
        columns: in a row.
        gap: pixels between neighbours.

    Returns:
        uint8, (rows (H + gap) - gap, columns (W + gap) - gap, 3).
    """
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for place, picture in enumerate(pictures):
        top, left = (place // columns) * (height + gap), (place % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def sized(image: np.ndarray, side: int) -> np.ndarray:
    """An image with so many pixels along its longer side, with hard pixel edges where it becomes much larger.

    Args:
        image: (H, W, 1 or 3) uint8.
        side: pixels.

    Returns:
        (H', W', 3) uint8.
    """
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    kernel = Image.Resampling.NEAREST if scale >= 3 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(np.broadcast_to(image, (height, width, 3))).resize(size, kernel))


def legend_of(classes: Iterable[int], class_names: Sequence[str]) -> dict[str, str]:
    """The colours of some classes as `Look.legend` takes them."""
    colours = class_colours(len(class_names))
    return {class_names[c]: "#{:02x}{:02x}{:02x}".format(*colours[c]) for c in sorted(set(map(int, classes)))}

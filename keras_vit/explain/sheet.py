"""Contact sheets of explained photos: each photo, what was said of it, and what that was read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from keras_vit.evaluation.pictures import contact_sheet
from keras_vit.explain.explained import Explained
from keras_vit.explain.overlay import COLOURS, mosaic, overlay
from keras_vit.explain.saliency import METHODS
from keras_vit.preprocessing import Preprocessing

SIDE = 480
"""Pixels of the longer side of a picture on a sheet or a page, at most."""
INCHES = 2.1
"""Side of a picture on a sheet."""
COLUMNS = 6
"""Pictures in a row of a sheet, where a photo has no more."""
ROWS = 10
"""Of a sheet."""
LEGEND = "the brighter the colour, the more a place counts; dark and grey: cut off, not seen by the model"


@dataclass(frozen=True)
class Panel:
    """What a sheet or a page shows of one photo.

    Attributes:
        name: of the photo.
        title: what was predicted and, on a second line, what is true.
        colour: of the title.
        pictures: heading -> uint8 (H, W, 1 or 3), not larger than `SIDE`; the photo itself comes first.
    """

    name: str
    title: str
    colour: str
    pictures: Mapping[str, np.ndarray]


def draw(
    found: Explained, preprocessing: Preprocessing, patch_size: int, colours: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The photo in its own size with each method's map over it, and the explained boxes.

    Args:
        found: the explained photo.
        preprocessing: of the model.
        patch_size: of the model, in pixels of its input.
        colours: of its patches, see `components`.

    Returns:
        Method -> (H, W, 3) uint8; `components` comes last where there are colours.
    """
    grid = tuple(-(-side // patch_size) for side in preprocessing.image_size)
    drawn = {}
    for method, heat in found.heats.items():
        cell = patch_size if heat.shape == grid else None
        drawn[method] = _boxed(overlay(found.photo, heat, preprocessing, patch_size=cell), found.boxes)
    if colours is not None:
        drawn["components"] = mosaic(found.photo, colours, preprocessing, patch_size=patch_size)
    return drawn


def panel(found: Explained, name: str, drawn: Mapping[str, np.ndarray]) -> Panel:
    """The photo and what was drawn of it, in the size of a sheet."""
    headed = {f"{key} for {found.aim}" if _aimed(key) else key.replace("_", " "): image for key, image in drawn.items()}
    pictures = {"photo": found.photo, **headed}
    return Panel(name, found.title, found.colour, {heading: _small(image) for heading, image in pictures.items()})


def _aimed(method: str) -> bool:
    """Whether a method's map is one of a certain answer, rather than the same for all of them."""
    return method in METHODS and METHODS[method].aimed


def per_sheet(pictures: int) -> int:
    """How many photos of so many pictures each a sheet holds."""
    return ROWS * max(1, COLUMNS // pictures)


def sheet(panels: Sequence[Panel]) -> Figure:
    """Every photo beside its pictures, under what was said of it.

    Args:
        panels: one at least, all with the same number of pictures; see `per_sheet`.
    """
    each = len(panels[0].pictures)
    images, titles, colours = [], [], []
    for one in panels:
        images += one.pictures.values()
        titles += [f"{one.name}\n{one.title}", *list(one.pictures)[1:]]
        colours += [one.colour, *["black"] * (each - 1)]
    columns = each * min(len(panels), max(1, COLUMNS // each))
    figure = contact_sheet(images, titles, columns=columns, colours=colours, inches=INCHES)
    mappable = ScalarMappable(cmap=COLOURS)
    bar = figure.colorbar(mappable, ax=figure.axes, location="bottom", shrink=min(1, 3 / columns), aspect=40, pad=0.01)
    bar.set_ticks([])
    bar.set_label(LEGEND, fontsize=8)
    bar.outline.set_visible(False)
    return figure


def _small(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    if max(height, width) <= SIDE:
        return image
    scale = SIDE / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = np.asarray(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).resize(size, Image.LANCZOS))
    return small.reshape(*small.shape[:2], -1)


def _boxed(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The image with white boxes in black outlines, which show on everything."""
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    line = max(1, round(max(image.shape[:2]) / 400))
    for x0, y0, x1, y1 in boxes.tolist():
        for colour, out in (("black", line), ("white", 0)):
            edges = (x0 - out, y0 - out, max(x0, x1 - 1) + out, max(y0, y1 - 1) + out)
            pen.rectangle(edges, outline=colour, width=line + 2 * out)
    return np.asarray(picture)

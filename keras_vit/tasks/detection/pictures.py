"""Pictures of detections: boxes in their classes' colours with names and scores, beside the truth, with a legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from keras_vit.evaluation.colours import class_colours
from keras_vit.evaluation.looks import sized
from keras_vit.evaluation.pictures import DPI
from keras_vit.evaluation.side_by_side import side_by_side
from keras_vit.tasks.detection.suppression import Detections

LEAST_SIDE = 480
"""Pixels that the longer side of a drawn image has at least: words need them."""
FONT_SIZE = 13
LINE_WIDTH = 2
DRAWN_SIDE = 640
"""On pictures whose longer side has more pixels than this, words and lines grow with it: they are seen smaller."""
PANEL_INCHES = 3.2
"""Width of an image on a sheet."""


def draw_detections(
    image: np.ndarray, found: Detections, class_names: Sequence[str], *, side: int | None = None, named: bool = True
) -> np.ndarray:
    """The image with every box in its class's colour, and a tag that says what it is and how sure that is.

    Args:
        image: (H, W, 1 or 3) uint8.
        found: boxes in the image's pixels; where a score is not a number, as for the truth, none is written.
        class_names: C names.
        side: pixels of the longer side of the picture; by default the image's own, but at least `LEAST_SIDE`.
        named: False leaves the names to a legend.

    Returns:
        (H', W', 3) uint8.
    """
    height, width = image.shape[:2]
    side = side or max(height, width, LEAST_SIDE)
    scale = side / max(height, width)
    picture = Image.fromarray(sized(image, side))
    pen = ImageDraw.Draw(picture)
    colours = [tuple(map(int, colour)) for colour in class_colours(len(class_names))]
    # The surest last: nothing covers them.
    order = np.argsort(np.nan_to_num(found.scores, nan=1.0), kind="stable")
    for index in order:
        label = found.classes[index]
        x0, y0, x1, y1 = (float(edge) * scale for edge in found.boxes[index])
        line = round(LINE_WIDTH * _grown(picture.size))
        pen.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colours[label], width=line)
    for index in order:
        score, label = found.scores[index], found.classes[index]
        words = [class_names[label]] * named + [f"{score:.2f}"] * bool(np.isfinite(score))
        if words:
            _tag(pen, " ".join(words), found.boxes[index] * scale, colours[label], picture.size)
    return np.asarray(picture)


def _tag(pen: ImageDraw.ImageDraw, text: str, box: np.ndarray, colour: tuple[int, int, int], size) -> None:
    """A filled tag upon the box's upper left corner, or within it where the image ends."""
    font = ImageFont.load_default(FONT_SIZE * _grown(size))
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    width, height = right - left + 4, bottom - top + 4
    x = min(max(box[0], 0), max(size[0] - width, 0))
    y = box[1] - height if box[1] >= height else max(box[1], 0)
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    dark = np.dot(colour, (0.299, 0.587, 0.114)) > 140
    pen.text((x + 2 - left, y + 2 - top), text, fill="black" if dark else "white", font=font)


def _grown(size: tuple[int, int]) -> float:
    return max(1.0, max(size) / DRAWN_SIDE)


def truth(targets: np.ndarray) -> Detections:
    """What (M, 5) targets say, as detections without scores; unused rows are left out."""
    rows = targets[targets[:, 4] >= 0]
    return Detections(rows[:, :4], np.full(len(rows), np.nan, np.float32), rows[:, 4].astype(np.int64))


def detection_sheet(
    images: Sequence[np.ndarray],
    groups: Sequence[Sequence[Detections]],
    headings: Sequence[str],
    class_names: Sequence[str],
    *,
    titles: Sequence[str] | None = None,
    columns: int = 1,
) -> Figure:
    """Images, each drawn once for every group of boxes side by side, and a legend of the classes that are seen.

    Args:
        images: n arrays uint8 (H, W, 1 or 3).
        groups: for each image its groups of boxes, such as what was found and the truth.
        headings: what each group is.
        class_names: C names.
        titles: n texts that stand before the first heading of their image.
        columns: so many images stand in a row.
    """

    def drawn(image: np.ndarray, found: Detections) -> np.ndarray:
        side = round(PANEL_INCHES * DPI * max(1.0, image.shape[0] / image.shape[1]))
        return draw_detections(image, found, class_names, side=side, named=False)

    return side_by_side(
        [[drawn(image, found) for found in group] for image, group in zip(images, groups, strict=True)],
        headings,
        class_names,
        [label for group in groups for found in group for label in found.classes],
        titles=titles,
        columns=columns,
        inches=PANEL_INCHES,
    )

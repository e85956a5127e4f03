"""Images drawn in several ways side by side, such as prediction and truth, with a legend of their classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from keras_vit.evaluation.colours import class_colours
from keras_vit.evaluation.pictures import new_figure

LEGEND_COLUMNS = 6
LEGEND_INCHES = (0.55, 0.07)
"""Width of a class in the legend: of its colour and the space around, and of each letter."""


def side_by_side(
    drawn: Sequence[Sequence[np.ndarray]],
    headings: Sequence[str],
    class_names: Sequence[str],
    seen: Iterable[int],
    *,
    titles: Sequence[str] | None = None,
    columns: int = 1,
    inches: float = 2.4,
) -> Figure:
    """A sheet of images.

    Args:
        drawn: n groups of pictures uint8 (H, W, 3), one for each heading.
        headings: what each picture of a group shows.
        class_names: C names.
        seen: the classes that the legend tells of.
        titles: n texts that stand before the first heading of their group.
        columns: so many groups stand in a row.
        inches: width of a picture.
    """
    if not len(drawn):
        figure = new_figure(3, 0.6)
        figure.text(0.5, 0.5, "No images to show.", ha="center", va="center")
        return figure
    columns, each = max(1, min(columns, len(drawn))), len(headings)
    rows = math.ceil(len(drawn) / columns)
    tall = max(group[0].shape[0] / group[0].shape[1] for group in drawn)
    named, width = sorted(set(map(int, seen))), columns * each * (inches + 0.1)
    alone, letter = LEGEND_INCHES
    entry = alone + letter * max((len(class_names[index]) for index in named), default=0)
    beside = min(max(int(width / entry), 1), LEGEND_COLUMNS)
    legend = 0.22 * math.ceil(len(named) / beside) + 0.2
    figure = new_figure(width, rows * (inches * tall + 0.3) + legend, bottom=legend)
    for place, group in enumerate(drawn):
        for part, (heading, picture) in enumerate(zip(headings, group, strict=True)):
            axes = figure.add_subplot(rows, columns * each, place * each + part + 1)
            axes.imshow(picture, interpolation="nearest")
            axes.set_axis_off()
            words = [titles[place]] if titles and part == 0 else []
            axes.set_title(" · ".join([*words, heading]), fontsize=8, pad=3, parse_math=False)
    colours = class_colours(len(class_names)) / 255
    patches = [Patch(facecolor=colours[index], label=class_names[index]) for index in named]
    figure.legend(handles=patches, loc="lower center", ncols=beside, fontsize=8, frameon=False)
    return figure

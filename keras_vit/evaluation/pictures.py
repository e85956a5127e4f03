"""Pictures of a classifier: its confusions, its images with what it said of them, its training curves.

Figures are plain `matplotlib.figure.Figure` objects on the Agg canvas: no window, no pyplot, no global state.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from keras_vit.errors import InputError
from keras_vit.evaluation.mistakes import RIGHT, WRONG
from keras_vit.files import write_bytes

DPI = 120
MOST_NUMBERED = 20
"""Confusion matrices of up to this many classes carry their numbers."""
MOST_NAMED = 120
"""Confusion matrices of up to this many classes carry a name on every row and column."""
CELL_INCHES = 1.5
"""Side of an image on a contact sheet."""
TITLE_LENGTH = 14.7
"""Characters of a title that an inch of a contact sheet holds."""


def confusion_figure(matrix: np.ndarray, class_names: Sequence[str]) -> Figure:
    """A confusion matrix, coloured by the share of each true class, with the counts in the cells when they are few.

    The colour scale follows the square root, so that a few mistakes among many images still show.

    Args:
        matrix: (C, C) counts, rows are the truth.
        class_names: C names.

    Raises:
        InputError: the matrix is not (C, C) for C names.
    """
    matrix = np.asarray(matrix)
    classes = len(class_names)
    if matrix.shape != (classes, classes) or not classes:
        raise InputError(
            f"the confusion matrix of {classes} class names must have the shape ({classes}, {classes}), "
            f"not {matrix.shape}."
        )
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(2 + 0.5 * classes, 9 if classes <= MOST_NUMBERED else 14)
    figure = new_figure(side + 2.4, side + 1.4, compress=True)
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    _name_classes(axes, class_names, side)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    bar = figure.colorbar(image, ax=axes, ticks=[0, 0.01, 0.1, 0.25, 0.5, 1], shrink=0.9, pad=0.02, aspect=30)
    bar.ax.set_yticklabels(["0", "1 %", "10 %", "25 %", "50 %", "100 %"])
    bar.set_label("share of the true class")
    if classes <= MOST_NUMBERED:
        for row, column in np.ndindex(matrix.shape):
            count = str(matrix[row, column])
            axes.text(
                column,
                row,
                count,
                ha="center",
                va="center",
                # 72 points an inch, and a digit is about 0.62 of its size wide: nine tenths of the cell at most.
                size=min(10, 0.9 * 72 * side / classes / (0.62 * len(count))),
                color="white" if share[row, column] > 0.3 else "#8a8a8a" if count == "0" else "black",
            )
    return figure


def _name_classes(axes, class_names: Sequence[str], side: float) -> None:
    """Class names on both axes, as large as the cells allow; every so many when there are too many for names."""
    step = math.ceil(len(class_names) / MOST_NAMED)
    places = range(0, len(class_names), step)
    names = [_shorten(class_names[i], 26) for i in places]
    size = min(9.0, 66 * side / len(names))
    upright = len(names) > MOST_NUMBERED or max(map(len, names)) * 0.09 > side / len(names)
    # parse_math: a class may be called "$5 or $10".
    axes.set_xticks(places, names, rotation=90 if upright else 0, fontsize=size, parse_math=False)
    axes.set_yticks(places, names, fontsize=size, parse_math=False)
    axes.tick_params(length=0 if step == 1 else 2)


def contact_sheet(
    images: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    *,
    columns: int = 6,
    colours: Sequence[str] | None = None,
    inches: float = CELL_INCHES,
) -> Figure:
    """Images side by side with a title above each.

    Small images are enlarged with hard pixel edges; one channel is shown grey. Without images the sheet says so.

    Args:
        images: n arrays uint8 (H, W, C), C is 1 or 3; the sizes may differ.
        titles: n texts, each of one or two lines; long lines lose their middle.
        columns: how many images stand in a row, at least 1.
        colours: n colours of the titles, black when not given.
        inches: side of an image.

    Raises:
        InputError: an image of another form, another number of titles or colours than images, or columns below 1.
    """
    titles = [""] * len(images) if titles is None else titles
    colours = ["black"] * len(images) if colours is None else colours
    if not len(images) == len(titles) == len(colours):
        raise InputError(
            f"{len(images)} images came with {len(titles)} titles and {len(colours)} colours: "
            "give one of each for every image."
        )
    if columns < 1:
        raise InputError(f"columns is the number of images in a row, at least 1, not {columns}.")
    if not len(images):
        figure = new_figure(3, 0.6)
        figure.text(0.5, 0.5, "No images to show.", ha="center", va="center")
        return figure
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    lines = 1 + max(title.count("\n") for title in titles)
    images = [_checked(np.asarray(image)) for image in images]
    # A row is as high as its tallest image, which is as high as it is wide at most.
    tallest = [
        min(1.0, max(i.shape[0] / i.shape[1] for i in images[r : r + columns])) for r in range(0, len(images), columns)
    ]
    figure = new_figure(columns * (inches + 0.15), inches * sum(tallest) + rows * (0.1 + 0.15 * lines))
    grid = figure.add_gridspec(rows, columns, height_ratios=tallest)
    for place, (image, title, colour) in enumerate(zip(images, titles, colours, strict=True)):
        axes = figure.add_subplot(grid[place])
        _show_image(axes, image, inches)
        text = "\n".join(_shorten(line, round(TITLE_LENGTH * inches)) for line in title.split("\n"))
        axes.set_title(text, fontsize=8, color=colour, pad=3, parse_math=False)
    return figure


def _checked(image: np.ndarray) -> np.ndarray:
    if image.ndim != 3 or image.shape[-1] not in (1, 3) or 0 in image.shape or image.dtype != np.uint8:
        raise InputError(
            f"images must be uint8 of shape (height, width, 1 or 3), not {image.dtype} of shape {image.shape}."
        )
    return image


def _show_image(axes, image: np.ndarray, inches: float) -> None:
    enlarged = max(image.shape[:2]) <= inches * DPI
    # Grey as RGB: a colour map would round the values.
    rgb = np.broadcast_to(image, (*image.shape[:2], 3))
    axes.imshow(rgb, interpolation="nearest" if enlarged else "antialiased")
    axes.set_axis_off()


def metric_panels(history: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Sequence[float]]]:
    """The history by metric, `loss` first and `learning_rate` last: `{"loss": {"train": ..., "validation": ...}, ...}`.

    Args:
        history: values an epoch, by the names that `fit` uses (`loss`, `val_loss`, ...).
    """
    panels = {"loss": {}}
    for key, values in history.items():
        metric = key.removeprefix("val_")
        panels.setdefault(metric, {})["train" if key == metric else "validation"] = values
    if "learning_rate" in panels:
        panels["learning_rate"] = panels.pop("learning_rate")
    return {metric: lines for metric, lines in panels.items() if any(len(values) for values in lines.values())}


def curves_figure(history: Mapping[str, Sequence[float]]) -> Figure:
    """Training curves: one panel a metric with its train and validation lines, the learning rate last.

    Args:
        history: values an epoch, by the names that `fit` uses (`loss`, `val_loss`, `accuracy`, `learning_rate`, ...).

    Raises:
        InputError: the history holds no values.
    """
    panels = metric_panels(history)
    if not panels:
        raise InputError("the history holds no epochs, so there are no curves to draw: train for one epoch or more.")
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(4.2 * columns, 3 * rows)
    for place, (metric, lines) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(rows, columns, place)
        for part, values in lines.items():
            train = part == "train"
            axes.plot(
                range(1, len(values) + 1),
                np.asarray(values, np.float64),
                label=part,
                color=RIGHT if train else WRONG,
                linestyle="-" if train else "--",
                # A single epoch is a point, which a bare line would not show.
                marker="o" if len(values) <= 30 else None,
                markersize=3,
            )
        axes.set_title(metric.replace("_", " "), fontsize=10, parse_math=False)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(0.5, max(map(len, lines.values())) + 0.5)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if metric != "learning_rate":
            axes.legend(frameon=False, fontsize=8)
    return figure


def to_png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def save_png(figure: Figure, path: str | os.PathLike) -> None:
    """Write the figure as a PNG file, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    write_bytes(path, to_png(figure))


def to_array(figure: Figure) -> np.ndarray:
    """The figure as pixels, uint8 (H, W, 3), for TensorBoard."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def new_figure(width: float, height: float, *, compress: bool = False, bottom: float = 0.0) -> Figure:
    """A white figure on the Agg canvas.

    Args:
        width, height: in inches.
        compress: keep labels close to square axes.
        bottom: inches at the bottom that axes leave free, for a legend.
    """
    free = (0, bottom / height, 1, 1 - bottom / height)
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08, compress=compress, rect=free)
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _shorten(text: str, length: int) -> str:
    """At most `length` characters: the middle is left out, for names often differ only at their end."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail].rstrip()}…{text[-tail:].lstrip()}"

"""report.html: one page that holds everything it shows, for whoever asks how good a run is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from keras_vit.evaluation.elements import (
    assemble,
    facts,
    number,
    passed,
    percent,
    photo,
    picture,
    scaled,
    table,
    text,
)
from keras_vit.evaluation.looks import Look, Looks
from keras_vit.evaluation.pictures import curves_figure, metric_panels, to_png
from keras_vit.files import write_bytes

FIGURE_COLUMNS = {
    "split": ("Split", text),
    "top1": ("Top-1", percent),
    "top5": ("Top-5", percent),
    "miou": ("Mean IoU", percent),
    "pixel_accuracy": ("Pixel accuracy", percent),
    "ap": ("AP", percent),
    "ap50": ("AP50", percent),
    "ap75": ("AP75", percent),
    "ap_small": ("AP small", percent),
    "ap_medium": ("AP medium", percent),
    "ap_large": ("AP large", percent),
    "ar100": ("AR100", percent),
    "loss": ("Loss (nats)", scaled("", 1, 4)),
    "ece": ("Calibration error", percent),
    "n": ("Images", number),
}
CLASS_COLUMNS = {
    "name": ("Class", text),
    "iou": ("IoU", percent),
    "ap": ("AP", percent),
    "ap50": ("AP50", percent),
    "precision": ("Precision", percent),
    "recall": ("Recall", percent),
    "f1": ("F1", percent),
    "support": ("Images", number),
    "pixels": ("Pixels", number),
    "boxes": ("Boxes", number),
}
ARTIFACT_COLUMNS = {
    "file": ("File", text),
    "format": ("Format", text),
    "ok": ("Check", passed),
    "size_bytes": ("Size", scaled("MB", 1e-6, 2)),
    "latency_ms": ("Latency", scaled("ms", 1, 1)),
    "agreement": ("Agreement", percent),
    "metric": ("Score", percent),
    "metric_source": ("Score of model.keras", percent),
    "max_error": ("Max error", number),
    "mean_error": ("Mean error", number),
}
"""Columns of the tables: key of the row -> heading and format. Keys that no table knows are shown under their name."""


def write_report(
    path: str | os.PathLike,
    *,
    title: str,
    summary: Mapping[str, object],
    history: Mapping[str, Sequence[float]] | None = None,
    figures: Mapping[str, Mapping[str, float]],
    per_class: Sequence[Mapping] | None = None,
    looks: Looks | None = None,
    pictures: Mapping[str, bytes],
    artifacts: Sequence[Mapping] | None = None,
    recipe_yaml: str,
) -> None:
    """Write the report of a run as one HTML file without scripts or outside parts; the same input, the same bytes.

    A part that is None or empty is left out.

    Args:
        path: the file; its folder is made when it is missing.
        title: the heading.
        summary: what a reader wants to know first, label -> value.
        history: values an epoch, by the names that `fit` uses.
        figures: split -> figures, fractions as in `metrics.json`.
        per_class: the rows that `keras_vit.evaluation.per_class` gives.
        looks: the worst and the best examples, and what the model looked at in them.
        pictures: caption -> bytes of a PNG file; the caption is the text for those who cannot see it, too.
        artifacts: the rows of `export/report.json`.
        recipe_yaml: the recipe of the run.

    Raises:
        InputError: the file cannot be written.
        ValueError: a picture is not a PNG file.
    """
    parts = {
        "Summary": facts(summary),
        "Figures": table([{"split": split, **row} for split, row in figures.items()], FIGURE_COLUMNS),
        "Exported files": table(artifacts or [], ARTIFACT_COLUMNS),
        "Training": _curves(history or {}),
        "Worst examples": _looks(looks.worst, looks.method) if looks else "",
        "Best examples": _looks(looks.best) if looks else "",
        "Pictures": "\n".join(_captioned(caption, png) for caption, png in pictures.items()),
        "Classes": table([_without_hollow_figures(row) for row in per_class or []], CLASS_COLUMNS),
        "Recipe": f"<pre>{text(recipe_yaml)}</pre>" if recipe_yaml else "",
    }
    write_bytes(path, assemble(title, parts))


def _without_hollow_figures(row: Mapping) -> dict:
    """A class without images has no recall and no F1: scikit-learn's zeros would read as failures."""
    return dict(row) if row.get("support", 1) else {**row, "precision": None, "recall": None, "f1": None}


def _curves(history: Mapping[str, Sequence[float]]) -> str:
    """One small figure a metric, so that they flow into one column on a narrow screen."""
    figures = []
    for metric in metric_panels(history):
        panel = {key: history[key] for key in (metric, f"val_{metric}") if key in history}
        figures.append(picture(f"{metric} by epoch", to_png(curves_figure(panel)), least_share=0))
    return f'<div class="curves">{"".join(f"<figure>{f}</figure>" for f in figures)}</div>' if figures else ""


def _captioned(caption: str, png: bytes) -> str:
    return f"<figure><figcaption>{text(caption)}</figcaption>{picture(caption, png, least_share=0.73)}</figure>"


def _looks(looks: Sequence[Look], method: str = "") -> str:
    """A small figure an example; what is said of it is text, which pictures would shrink on a narrow screen."""
    figures = "\n".join(f'<figure class="look">{_said(look)}{_panels(look)}</figure>' for look in looks)
    words = f"<p>{text(method)}</p>\n" if method else ""
    return f'{words}<div class="looks">\n{figures}\n</div>' if figures else ""


def _said(look: Look) -> str:
    kind = {True: ' class="good"', False: ' class="bad"', None: ""}[look.right]
    said, *further = map(text, (*look.words, look.name))
    return f"<figcaption><b{kind}>{said}</b><br>{'<br>'.join(further)}</figcaption>"


def _panels(look: Look) -> str:
    words = "".join(f"<span>{text(panel)}</span>" for panel in look.panels)
    shown = f"{look.name}: {'; '.join(look.words)}. From left to right: {', '.join(look.panels)}."
    keys = "".join(
        f'<span><i style="background:{text(colour)}"></i>{text(c)}</span>' for c, colour in look.legend.items()
    )
    legend = f'<div class="legend">{keys}</div>' if keys else ""
    return f'<div class="panels">{words}</div>{photo(shown, look.picture)}{legend}'

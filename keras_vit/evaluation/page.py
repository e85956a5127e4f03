"""report.html: one page that holds everything it shows, for whoever asks how good a run is."""

from __future__ import annotations

import base64
import html
import os
import struct
from collections.abc import Callable, Mapping, Sequence

from keras_vit.evaluation.pictures import curves_figure, metric_panels, to_png
from keras_vit.evaluation.template import PAGE
from keras_vit.files import write_bytes

ABSENT = "\u2013"


def write_report(
    path: str | os.PathLike,
    *,
    title: str,
    summary: Mapping[str, object],
    history: Mapping[str, Sequence[float]] | None = None,
    figures: Mapping[str, Mapping[str, float]],
    per_class: Sequence[Mapping] | None = None,
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
        pictures: caption -> bytes of a PNG file; the caption is the text for those who cannot see it, too.
        artifacts: the rows of `export/report.json`.
        recipe_yaml: the recipe of the run.

    Raises:
        InputError: the file cannot be written.
        ValueError: a picture is not a PNG file.
    """
    parts = {
        "Summary": _summary(summary),
        "Figures": _table([{"split": split, **row} for split, row in figures.items()], FIGURE_COLUMNS),
        "Exported files": _table(artifacts or [], ARTIFACT_COLUMNS),
        "Training": _curves(history or {}),
        "Pictures": "\n".join(_picture(caption, png) for caption, png in pictures.items()),
        "Classes": _table([_without_hollow_figures(row) for row in per_class or []], CLASS_COLUMNS),
        "Recipe": f"<pre>{_text(recipe_yaml)}</pre>" if recipe_yaml else "",
    }
    names = {name: name.lower().replace(" ", "-") for name, content in parts.items() if content}
    page = PAGE.substitute(
        title=_text(title),
        links="".join(f'<a href="#{anchor}">{name}</a>' for name, anchor in names.items()),
        sections="\n".join(
            f'<section id="{anchor}" aria-label="{name}">\n<h2>{name}</h2>\n{parts[name]}\n</section>'
            for name, anchor in names.items()
        ),
    )
    # A file name may hold bytes that are no Unicode text: they show as question marks.
    write_bytes(path, page.encode("utf-8", errors="replace"))


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


def _number(value: object) -> str:
    """Four significant digits for measured numbers; whole numbers with thousands apart; other things as they are."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return _text(value)


def _scaled(unit: str, factor: float, digits: int) -> Callable[[object], str]:
    """A format that shows numbers in another unit, and what is not a number as it is."""

    def show(value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return _number(value)
        return f"{value * factor:,.{digits}f} {unit}".rstrip()

    return show


def _passed(value: object) -> str:
    return '<span class="good">passed</span>' if value else '<span class="bad">failed</span>'


_percent = _scaled("%", 100, 2)

FIGURE_COLUMNS = {
    "split": ("Split", _text),
    "top1": ("Top-1", _percent),
    "top5": ("Top-5", _percent),
    "loss": ("Loss (nats)", _scaled("", 1, 4)),
    "ece": ("Calibration error", _percent),
    "n": ("Images", _number),
}
CLASS_COLUMNS = {
    "name": ("Class", _text),
    "precision": ("Precision", _percent),
    "recall": ("Recall", _percent),
    "f1": ("F1", _percent),
    "support": ("Images", _number),
}
ARTIFACT_COLUMNS = {
    "file": ("File", _text),
    "format": ("Format", _text),
    "ok": ("Check", _passed),
    "size_bytes": ("Size", _scaled("MB", 1e-6, 2)),
    "latency_ms": ("Latency", _scaled("ms", 1, 1)),
    "agreement": ("Agreement", _percent),
    "metric": ("Score", _percent),
    "metric_source": ("Score of model.keras", _percent),
    "max_error": ("Max error", _number),
    "mean_error": ("Mean error", _number),
}
"""Columns of the tables: key of the row -> heading and format. Keys that no table knows are shown under their name."""


def _table(rows: Sequence[Mapping], known: Mapping[str, tuple[str, Callable]]) -> str:
    """The rows as a table that scrolls in its own box: known columns in their order, then what else the rows hold."""
    if not rows:
        return ""
    present = dict.fromkeys(key for row in rows for key in row)
    columns = {key: known[key] for key in known if key in present}
    columns |= {key: (str(key), _number) for key in present if key not in known}
    heads = "".join(f'<th scope="col">{_text(heading)}</th>' for heading, _ in columns.values())
    body = "\n".join(f"<tr>{_cells(row, columns)}</tr>" for row in rows)
    table = f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    return f'<div class="box" tabindex="0">{table}</div>'


def _cells(row: Mapping, columns: Mapping[str, tuple[str, Callable]]) -> str:
    shown = [ABSENT if row.get(key) is None else show(row[key]) for key, (_, show) in columns.items()]
    return f'<th scope="row">{shown[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in shown[1:])


def _without_hollow_figures(row: Mapping) -> dict:
    """A class without images has no recall and no F1: scikit-learn's zeros would read as failures."""
    return dict(row) if row["support"] else {**row, "precision": None, "recall": None, "f1": None}


def _summary(summary: Mapping[str, object]) -> str:
    pairs = "".join(f"<div><dt>{_text(k)}</dt><dd>{_number(v)}</dd></div>" for k, v in summary.items())
    return f"<dl>{pairs}</dl>" if pairs else ""


def _curves(history: Mapping[str, Sequence[float]]) -> str:
    """One small figure a metric, so that they flow into one column on a narrow screen."""
    figures = []
    for metric in metric_panels(history):
        panel = {key: history[key] for key in (metric, f"val_{metric}") if key in history}
        figures.append(_image(f"{metric} by epoch", to_png(curves_figure(panel)), least_share=0))
    return f'<div class="curves">{"".join(f"<figure>{f}</figure>" for f in figures)}</div>' if figures else ""


def _picture(caption: str, png: bytes) -> str:
    return f"<figure><figcaption>{_text(caption)}</figcaption>{_image(caption, png, least_share=0.73)}</figure>"


def _image(words: str, png: bytes, *, least_share: float) -> str:
    """An embedded picture that scrolls sideways rather than shrink below a share of its width."""
    if png[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"the picture {words!r} is not the bytes of a PNG file.")
    width, height = struct.unpack(">II", png[16:24])
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<div class="picture" tabindex="0"><img src="data:image/png;base64,{data}" alt="{_text(words)}" '
        f'width="{width}" height="{height}" style="min-width:{round(width * least_share)}px"></div>'
    )

"""report.html beside the exported files: what each of them costs, holds, and sees differently from its source."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from keras_vit.evaluation.elements import assemble, facts, number, percent, scaled, table, text
from keras_vit.export import plot
from keras_vit.export.page_operators import operators_section
from keras_vit.export.page_style import STYLE
from keras_vit.export.report import METRICS, verdict
from keras_vit.files import write_bytes

PAGE = "report.html"
PICTURE_SIDE = 160

_megabytes, _milliseconds = scaled("MB", 1e-6, 2), scaled("ms", 1, 2)


IDENTITY_COLUMNS = {"file": ("File", text), "verdict": ("Verdict", text), "size_bytes": ("Size", _megabytes)}
LATENCIES = {"median_ms": "Median", "p95_ms": "95 %"}
FIGURE_COLUMNS = {
    "metric": ("Score", percent),
    "points": ("Change", scaled("points", 1, 2)),
    "agreement": ("Agreement", percent),
    "kl": ("KL (nats)", number),
    "max_error": ("Max error", number),
    "mean_error": ("Mean error", number),
    "peak_memory_bytes": ("Peak memory", scaled("MB", 1e-6, 0)),
    "load_ms": ("Load", scaled("ms", 1, 0)),
}
SEARCH_COLUMNS = {
    "name": ("Tried", text),
    "file": ("File", text),
    "kept": ("Kept", number),
    "metric": ("Score", percent),
    "agreement": ("Agreement", percent),
    "size_bytes": ("Size", _megabytes),
    "latency_ms": ("Latency", _milliseconds),
}


def write_page(
    report: Mapping,
    folder: str | os.PathLike,
    *,
    class_names: Sequence[str],
    images: np.ndarray | None = None,
    pictures: Path | None = None,
) -> None:
    """Writes `report.html`: one file that holds everything it shows, without scripts or outside parts.

    Args:
        report: what `export` returns, or the content of `report.json`. Under `search` it may have a list of what a
            search tried: name or file, figures as of an artefact, and whatever else, one dict a trial.
        folder: where to.
        class_names: C names.
        images: the validation images (n, H, W, channels) uint8 that the report was made on, for the samples; None
            leaves their pictures out.
        pictures: folder with `FILE/INDEX.png` of what source and file see in an image, instead of the image alone.

    Raises:
        InputError: the page cannot be written.
    """
    source, artifacts = report["source"], report["artifacts"]
    metric = METRICS.get(source["metric_name"], source["metric_name"])
    parts = {
        "Summary": _summary(source, metric),
        "Files": _files(artifacts),
        "Speed and score": _plot(artifacts, source, metric),
        "What was tried": table(report.get("search") or [], SEARCH_COLUMNS),
        "Inside the files": operators_section(artifacts),
        "Disagreements": _samples(artifacts, class_names, images, pictures),
    }
    write_bytes(Path(folder) / PAGE, assemble(f"{source['model']}, exported", parts, style=STYLE))


def _summary(source: Mapping, metric: str) -> str:
    told = {
        f"{metric} of the source": f"{source['metric']:.2%}",
        "validation images": source["images"],
        "parameters": source["parameters"],
        "image size": " x ".join(map(str, source["preprocessing"]["image_size"])),
        "precision of training": source["precision"],
        "measured on": f"{source['processor']}, {source['threads']} thread(s) unless said",
    }
    return facts(told)


def _files(artifacts: Sequence[Mapping]) -> str:
    """The table of files; its columns of latency are those that the files were measured with."""
    latencies = {}
    rows = []
    for entry in artifacts:
        row = {**entry, "verdict": verdict(entry), "points": 100 * (entry["metric"] - entry["metric_source"])}
        for threads, measured in entry["latency"].items():
            for name, value in measured.items():
                row[f"{name}_{threads}"] = value
                latencies[f"{name}_{threads}"] = (f"{LATENCIES[name]}, {threads} thr.", _milliseconds)
        rows.append(row)
    columns = IDENTITY_COLUMNS | latencies | FIGURE_COLUMNS
    return table([{key: row.get(key) for key in columns} for row in rows], columns)


def _plot(artifacts: Sequence[Mapping], source: Mapping, metric: str) -> str:
    if not artifacts:
        return ""
    points, legend = [], []
    for place, entry in enumerate(artifacts, 1):
        words = f"{entry['size_bytes'] / 1e6:.2f} MB, {entry['latency_ms']:.1f} ms, {entry['metric']:.2%}"
        legend.append(f"<li>{text(entry['file'])}: {words}, {verdict(entry)}</li>")
        place_in_plot = (entry["latency_ms"], entry["metric"], entry["size_bytes"])
        points.append(plot.Point(str(place), f"{entry['file']}: {words}", *place_in_plot, ok=entry["ok"]))
    labels = {"x_label": f"median latency in ms, {source['threads']} thread(s)", "y_label": f"{metric} in %"}
    drawn = plot.scatter(points, source=source["metric"], **labels)
    told = "The dashed line is the source; the area of a bubble follows the size of the file."
    return f'{drawn}<ol class="legend">{"".join(legend)}</ol><p>{told}</p>'


def _samples(
    artifacts: Sequence[Mapping], class_names: Sequence[str], images: np.ndarray | None, pictures: Path | None
) -> str:
    """For each file, images about which it decides otherwise than the source."""
    parts = []
    for entry in artifacts:
        if entry["disagreements"]:
            drawn = pictures / entry["file"] if pictures else None
            cards = "".join(_sample(told, class_names, images, drawn) for told in entry["disagreements"])
            count = len(entry["disagreeing"])
            parts.append(f'<h3>{text(entry["file"])}: {count} image(s)</h3><div class="cards">{cards}</div>')
    return "".join(parts)


def _sample(told: Mapping, class_names: Sequence[str], images: np.ndarray | None, drawn: Path | None) -> str:
    def lines(heading: str, top: Sequence) -> str:
        rows = [f"<li><b>{heading}</b></li>"]
        for index, probability in top:
            right = ' class="good"' if index == told["label"] else ""
            rows.append(f"<li{right}>{text(class_names[index])} {probability:.0%}</li>")
        return f"<ul>{''.join(rows)}</ul>"

    both = f"{lines('source', told['source'])}{lines('file', told['file'])}"
    if told["label"] is None:
        title = f"{text(told['image'])}: {told['agreement']:.1%} agree"
    else:
        title = f"truth: {text(class_names[told['label']])}"
    if drawn and (file := drawn / f"{told['index']}.png").is_file():
        data = base64.b64encode(file.read_bytes()).decode("ascii")
        picture = f'<img class="wide" src="data:image/png;base64,{data}" alt="{text(told["image"])}">'
        inside = f'{picture}<div class="pair">{both}</div>'
    else:
        picture = "" if images is None else _picture(images[told["index"]], told["image"])
        inside = f'<div class="sample"><div>{picture}</div>{both}</div>'
    return f'<figure class="card"><h4>{title}</h4>{inside}</figure>'


def _picture(pixels: np.ndarray, name: str) -> str:
    """A small JPEG of an image of any number of channels, of which only colours are shown."""
    image = Image.fromarray(np.array(pixels if pixels.shape[-1] == 3 else pixels[..., 0]))
    image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img src="data:image/jpeg;base64,{data}" alt="{text(name)}" width="{image.width}" height="{image.height}">'

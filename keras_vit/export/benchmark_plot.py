"""A benchmark as a picture: a bar per file and number of threads."""

from __future__ import annotations

from matplotlib.figure import Figure

from keras_vit.evaluation.pictures import to_png

BAR = 0.8
"""Height that the bars of one file share, of the 1 that is there for it."""


def benchmark_figure(found: dict) -> Figure:
    """Medians as bars with a line to the 95th percentile, one group per file; size and ratio are written beside them.

    Args:
        found: what `benchmark` returns.
    """
    contenders = found["contenders"]
    threads = list(contenders[0]["latency"])
    height = BAR / len(threads)
    figure = Figure(figsize=(9, 0.36 * len(contenders) * len(threads) + 1.6), layout="constrained")
    axes = figure.add_subplot()
    for index, number in enumerate(threads):
        figures = [entry["latency"][number] for entry in contenders]
        medians = [entry["median_ms"] for entry in figures]
        tails = [entry["p95_ms"] - entry["median_ms"] for entry in figures]
        places = [place - BAR / 2 + (index + 0.5) * height for place in range(len(contenders))]
        label = f"{number} thread{'s' if number != '1' else ''}"
        axes.barh(places, medians, height, label=label, color=f"C{index}")
        axes.errorbar(medians, places, xerr=([0] * len(tails), tails), fmt="none", ecolor="0.35", capsize=2)
        for place, entry in zip(places, figures, strict=True):
            text = f"  {entry['median_ms']:.3g} ms ({entry['ratio']:.2f})"
            axes.text(entry["p95_ms"], place, text, va="center", fontsize="small")
    names = [f"{entry['name']}\n{entry['size_bytes'] / 1e6:.2f} MB" for entry in contenders]
    axes.set_yticks(range(len(contenders)), names)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"median time of one image, ms; line to the 95th percentile; (ratio to {contenders[0]['name']})")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="best", frameon=False)
    return figure


def benchmark_png(found: dict) -> bytes:
    """The figure as a PNG."""
    return to_png(benchmark_figure(found))

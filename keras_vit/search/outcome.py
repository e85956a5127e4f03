"""What a search has found so far: a table, a picture and a recipe."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keras_vit.evaluation import RIGHT, WRONG, to_png
from keras_vit.evaluation.pictures import new_figure
from keras_vit.files import write_bytes, write_text
from keras_vit.search.space import changed
from keras_vit.search.trial import REASON, folder_of
from keras_vit.training import Recipe

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

TABLE, PICTURE, BEST = "trials.csv", "search.png", "best.yaml"

_COLORS = {"COMPLETE": RIGHT, "PRUNED": "0.6", "FAIL": WRONG}
_COLUMNS = 3


def trial_row(trial: FrozenTrial) -> dict[str, Any]:
    """A trial as a row of the table: its number, what came of it, the best value of the figure that is searched for
    (of the epochs that it had), its epochs and seconds, its values, and why it failed."""
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "value": _reached(trial),
        "epochs": 1 + max(trial.intermediate_values, default=-1),
        "seconds": round(trial.duration.total_seconds(), 1) if trial.duration else None,
        **trial.params,
        REASON: trial.user_attrs.get(REASON, ""),
    }


def write_outcome(folder: Path, study: Study, recipe: Recipe, monitor: str) -> None:
    """Writes `trials.csv`, `search.png` and, once a trial has come to its end, `best.yaml`.

    Args:
        folder: of the search.
        study: with at least one trial that has ended.
        recipe: what the trials' values change.
        monitor: the figure that is searched for.
    """
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    table = io.StringIO()
    rows = [trial_row(trial) for trial in ended]
    writer = csv.DictWriter(table, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / TABLE, table.getvalue())
    write_bytes(folder / PICTURE, to_png(search_figure(ended, monitor, maximize=study.direction.name == "MAXIMIZE")))
    if any(trial.state.name == "COMPLETE" for trial in ended):
        best = study.best_trial
        settings = changed(recipe, best.params).to_dict()
        settings.pop("out")
        run = folder_of(folder, best.number)
        head = f"# The best of {len(ended)} trials: number {best.number}, {best.value:.4f}. Its run: {run}\n"
        write_text(folder / BEST, head + yaml.safe_dump(settings, sort_keys=False))


def search_figure(trials: list[FrozenTrial], monitor: str, *, maximize: bool) -> Figure:
    """The value of each trial in the order of the trials, with the best so far, and by each setting that was searched.

    Args:
        trials: that have ended.
        monitor: the figure that is searched for.
        maximize: large values are good.
    """
    paths = list(dict.fromkeys(path for trial in trials for path in trial.params))
    columns = min(_COLUMNS, 1 + len(paths))
    rows = math.ceil((1 + len(paths)) / columns)
    figure = new_figure(4.2 * columns, 3 * rows)
    first = figure.add_subplot(rows, columns, 1)
    _scatter(first, trials, [trial.number for trial in trials])
    done = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if done:
        best = (np.maximum if maximize else np.minimum).accumulate([trial.value for trial in done])
        first.step([trial.number for trial in done], best, where="post", color=RIGHT, linewidth=1)
    first.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    first.set_ylabel(monitor)
    first.set_title("trials, and the best so far", fontsize=10)
    for place, path in enumerate(paths, start=2):
        axes = figure.add_subplot(rows, columns, place, sharey=first)
        having = [trial for trial in trials if path in trial.params]
        axis = having[0].distributions[path]
        _scatter(axes, having, [axis.to_internal_repr(trial.params[path]) for trial in having])
        if hasattr(axis, "choices"):
            axes.set_xticks(range(len(axis.choices)), [str(choice) for choice in axis.choices])
        else:
            if axis.log:
                axes.set_xscale("log")
            # The whole range, so that it is seen where values were not tried, or crowd at an end.
            axes.axvline(axis.low, color="0.8", linewidth=1)
            axes.axvline(axis.high, color="0.8", linewidth=1)
        axes.set_title(path, fontsize=10, parse_math=False)
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels) or 1, frameon=False, fontsize=9)
    return figure


def _scatter(axes, trials: list[FrozenTrial], places: list[float]) -> None:
    for state, color in _COLORS.items():
        shown = [
            (place, _reached(trial)) for place, trial in zip(places, trials, strict=True) if trial.state.name == state
        ]
        shown = [pair for pair in shown if pair[1] is not None]
        if shown:
            axes.scatter(*zip(*shown, strict=True), s=18, color=color, label=state.lower())
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _reached(trial: FrozenTrial) -> float | None:
    """The trial's value, or the last one that it reported."""
    if trial.state.name == "COMPLETE":
        return trial.value
    return trial.intermediate_values[max(trial.intermediate_values)] if trial.intermediate_values else None

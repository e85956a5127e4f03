"""The page of a run, made from what its folder holds."""

from __future__ import annotations

import json
from pathlib import Path

from keras_vit.evaluation import load_looks, write_report
from keras_vit.training.pace import PACE
from keras_vit.training.run import EVALUATION, EXPORT, LABELS, PAGE, RECIPE, load_run

SPLITS = {"test": "test", "val": "validation"}
"""The split whose details are shown is the first of these that the run has."""

CAPTIONS = {"confusion": "Confusion matrix", "mistakes": "Worst mistakes"}
"""What pictures of an assessment are called; others go by their own name."""


def write_page(folder: Path) -> None:
    """Writes `report.html` from the run's metrics, pictures and, once there are any, exported files.

    Raises:
        InputError: no finished run in the folder.
    """
    # Here and not above: exporting needs TensorFlow, and reads of a run do not.
    from keras_vit.export.report import SUMMARY

    run = load_run(folder)
    split = next((split for split in SPLITS if split in run.metrics), None)
    details = folder / EVALUATION
    rows = json.loads((details / f"{split}_per_class.json").read_text()) if split else None
    exported = folder / EXPORT / "report.json"
    artifacts = json.loads(exported.read_text())["artifacts"] if exported.is_file() else None
    pictures = {}
    for path in sorted(details.glob(f"{split}_*.png")) if split else ():
        name = path.stem.removeprefix(f"{split}_")
        pictures[f"{CAPTIONS.get(name, name.replace('_', ' ').capitalize())} ({SPLITS[split]})"] = path.read_bytes()
    write_report(
        folder / PAGE,
        title=f"{run.recipe.model.name} on {Path(run.recipe.data.spec).name}",
        summary={
            "classes": len((folder / LABELS).read_text(encoding="utf-8").splitlines()),
            "image size": " x ".join(str(side) for side in run.preprocessing.image_size),
            "parameters": run.model.count_params(),
            "epochs": len(next(iter(run.history.values()), [])),
            **_pace(run.history),
        },
        # How fast it was is said above.
        history={name: values for name, values in run.history.items() if name not in PACE},
        figures=run.metrics,
        per_class=rows,
        looks=load_looks(details, split) if split and run.recipe.log.examples else None,
        pictures=pictures,
        artifacts=artifacts and [{key: row[key] for key in SUMMARY if key in row} for row in artifacts],
        recipe_yaml=(folder / RECIPE).read_text(encoding="utf-8"),
    )


def _pace(history: dict[str, list[float]]) -> dict[str, str]:
    """How fast the last epoch was; nothing for runs of versions that did not measure it."""
    if not set(PACE) <= set(history):
        return {}
    rate, mfu, waiting, memory = (history[name][-1] for name in PACE)
    return {
        "images a second": f"{rate:.1f}",
        "share of the machine's peak (MFU)": f"{mfu:.1%}",
        "time spent waiting for images": f"{waiting:.1%}",
        "peak memory": f"{memory:.2f} GB",
    }

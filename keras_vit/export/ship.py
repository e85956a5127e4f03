"""`export`: a trained model in, files that were run and compared out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from rich.console import Console

from keras_vit.backend import require_tensorflow
from keras_vit.build import preprocessing_of
from keras_vit.data import Examples
from keras_vit.errors import InputError, suggest
from keras_vit.export.errors import ExportMissed
from keras_vit.export.formats import AUTO, FORMATS, MAX_DROP, MAX_ERROR, check_formats
from keras_vit.export.guard import Guard
from keras_vit.export.material import Material
from keras_vit.export.metadata import add_metadata
from keras_vit.export.page import write_page
from keras_vit.export.report import source_entry
from keras_vit.export.search import GOALS, Search
from keras_vit.export.staging import publish, stage, staging
from keras_vit.export.verify import affordable, make_reference, spread
from keras_vit.tasks.classification import Classification
from keras_vit.tasks.task import Task, describe_task
from keras_vit.version import __version__

DEFAULT_FORMATS = ("saved_model", "tflite", "tflite-int8-dynamic")


def export(
    model: keras.Model,
    out: str | os.PathLike,
    *,
    validation: Examples,
    class_names: Sequence[str] = (),
    task: Task | None = None,
    formats: str | Sequence[str] = DEFAULT_FORMATS,
    auto: str | None = None,
    allow_drop: bool = False,
    calibration: Examples | None = None,
    max_error: float = MAX_ERROR,
    max_drop: float = MAX_DROP,
    description: str = "",
    license: str = "",
    limit: int = 1000,
    threads: int | None = None,
    progress: bool = True,
) -> dict:
    """Writes a model in every format asked for, runs each file in its own runtime and compares it with the model.

    Files take pixels 0..255 and give what their task ships (`Task.shipped`), a classifier's probabilities: the
    normalisation and the softmax are inside. Artefacts appear in `out` when all of them have been made and measured;
    until then nothing there changes. An artefact that misses its tolerance is deleted, also one of an earlier export.

    Args:
        model: of this package, pixels (B, H, W, channels) -> its task's outputs, logits (B, C) of a classifier.
        out: folder; made when it is missing. Gets the artefacts, `labels.txt` (one class a line), and `report.json`
            and `report.html`, which describe this call's artefacts.
        validation: labelled images that the files are judged on.
        class_names: C names of a classifier.
        task: what the model was trained for, if not classification; it knows its names itself.
        formats: names of the table `FORMATS`.
        auto: also search for the fastest quantised file that holds `max_drop`, `model_auto.tflite`: `"fast"` whatever
            it is, `"integer"` of integers wherever TFLite has kernels for them. It takes minutes; what was tried is
            in the report.
        allow_drop: keep artefacts that miss their tolerance, marked `"ok": false`.
        calibration: images that quantisers look at, from the training split: they must not be those that the files
            are judged on. At most `CALIBRATION_IMAGES` are used, evenly spaced. Only integer formats need them.
        max_error: largest error of any probability in a float file; other outputs have units of their own, see
            `Task.parts`.
        max_drop: what a quantised file may lose of the task's metric, in points.
        description: of the model, for the metadata of its files.
        license: of its weights, likewise.
        limit: at most so many images, evenly spaced over the validation set; fewer where their outputs are very large.
        threads: of the runtimes while measuring; None takes the machine's cores, at most 4.
        progress: print a line a stage.

    Returns:
        The report: `{"source": {...}, "artifacts": [{"file", "format", "ok", "kept", "max_error", "mean_error",
        "agreement", "metric", "metric_source", "size_bytes", "latency_ms", ...}, ...]}`; see `verify.measure` for the
        rest of an artefact's figures.

    Raises:
        InputError: unknown format, class names or labels that do not fit the model, a model without a preprocessing
            record, an `out` that cannot be written.
        ExportFailed: a conversion or a run failed; the log of its process is kept in `out`, and nothing else.
        ExportMissed: an artefact missed its tolerance; the report and the other artefacts are written.
    """
    require_tensorflow("Exporting")
    names = check_formats(formats)
    if auto is not None and auto not in GOALS:
        raise InputError(f"There is no search {auto!r}: {suggest(auto, GOALS)}")
    if not calibration and (auto or any(FORMATS[name].calibrated for name in names)):
        raise InputError(
            "Integer formats need images to measure their ranges on: give calibration images from the training split."
        )
    preprocessing = preprocessing_of(model)
    task = task or Classification(tuple(class_names))
    _check(model, task, validation)
    if limit < 1:
        raise InputError(f"limit is the number of images to compare on, at least 1, not {limit}.")
    threads = threads or min(4, os.cpu_count() or 1)
    console = Console(quiet=not progress)
    # Absolute, because the runtimes are started in a folder of their own.
    out = Path(out).absolute()

    with staging(out) as folder:
        with stage(console, "source model on validation images") as advance:
            judged = spread(validation, min(limit, affordable(model)))
            reference = make_reference(model, judged, preprocessing, folder, task, progress=advance)
        material = Material(model, task, preprocessing, folder, calibration, threads)
        pictures = folder / "pictures"
        guard = Guard(reference, max_error, max_drop / 100, threads, console, allow_drop, pictures)
        artifacts, search = [], None
        for name in names:
            row = FORMATS[name]
            with stage(console, f"{name}: converting"):
                row.write(material, folder / row.file)
                _describe(folder / row.file, material, license=license, description=description)
            artifacts.append(guard.judge(folder / row.file, name, row))
        if auto:
            with stage(console, f"searching the fastest file that loses at most {max_drop:g} points") as advance:
                search = Search(material, reference, max_drop=max_drop / 100, goal=auto, advance=advance)
                found = search.run()
                shutil.copyfile(found.file, folder / AUTO.file)
                _describe(folder / AUTO.file, material, license=license, description=description)
            artifacts.append({**guard.judge(folder / AUTO.file, "tflite-auto", AUTO), "recipe": found.name})
        report = {"source": source_entry(model, preprocessing, reference, threads), "artifacts": artifacts}
        if search:
            report["search"] = [trial.entry() for trial in search.trials]
        images = np.load(reference.inputs["images"], mmap_mode="r")
        write_page(report, folder, class_names=task.class_names, images=images, pictures=pictures)
        publish(report, task.class_names, folder, out)
    missed = [f"{entry['file']}: {miss}" for entry in artifacts for miss in entry["misses"]]
    if missed and not allow_drop:
        raise ExportMissed(
            f"The export missed its tolerance and was deleted ({'; '.join(missed)}): export other formats, search one "
            "with auto, or keep it all the same with allow_drop.",
            report,
        )
    return report


def _describe(path: Path, material: Material, *, license: str, description: str) -> None:
    """Puts what phone SDKs want to know of a TFLite file into it."""
    if path.suffix == ".tflite":
        task = describe_task(material.task)
        add_metadata(
            path,
            name=material.model.name,
            class_names=material.task.class_names,
            preprocessing=material.preprocessing,
            description=description or f"{material.model.name}, {len(material.task.class_names)} classes",
            version=__version__,
            license=license,
            task=task["name"],
            options=task["options"],
        )


def _check(model: keras.Model, task: Task, validation: Examples) -> None:
    broken = [name for name in task.class_names if len(name.splitlines()) != 1]
    if broken:
        raise InputError(f"The class name {broken[0]!r} does not fit on one line of labels.txt: rename the class.")
    task.check(model, validation)
    if len(validation) == 0:
        raise InputError("There are no validation images to compare the exported files on: give at least one.")

"""What shipping costs: an exported file, run by its own runtime, against the model that it came from."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_vit.data import Examples, image_dataset
from keras_vit.evaluation import to_png
from keras_vit.export.comparison import compare, disagreements
from keras_vit.export.graph import float32_copy
from keras_vit.export.inspect import inspect
from keras_vit.export.progress import Advance
from keras_vit.export.running import MODEL_ALONE, run_file
from keras_vit.files import write_bytes
from keras_vit.preprocessing import Preprocessing
from keras_vit.tasks.task import Task

BATCH = 32
THREADS = (1, 2)
"""Every file's latency is measured with these numbers of threads."""
TIMED = 50
"""So many images are run with another number of threads than the one that all images are run with."""
MOST_BYTES = 2**32
"""Of a file's outputs on disk: where an image has many, fewer images are compared."""


@dataclass(frozen=True)
class Reference:
    """Validation images and what the source model makes of them.

    Attributes:
        task: what the model was trained for.
        examples: n labelled images.
        preprocessing: the model's record.
        outputs: (n, ..., K), what a file should give, side by side: of the source model's weights computing in float32.
        score: the metric of the source model in the precision it was trained in.
        inputs: the same images for the runners, by the name of their argument: `images`, an .npy file of
            (n, H, W, channels) uint8, and `encoded`, an .npz file of the original image files.
    """

    task: Task
    examples: Examples
    preprocessing: Preprocessing
    outputs: np.ndarray
    score: float
    inputs: dict[str, Path]

    def score_of(self, outputs: np.ndarray) -> float:
        """The metric of a file's outputs for these images."""
        return self.task.score(outputs, self.examples, self.preprocessing)


def affordable(model: keras.Model) -> int:
    """For so many images the model's outputs fit into `MOST_BYTES`; one at least."""
    return max(1, MOST_BYTES // (4 * math.prod(model.output_shape[1:])))


def spread(examples: Examples, limit: int) -> Examples:
    """At most `limit` examples, evenly spaced: folders list one class after the other."""
    if len(examples) <= limit:
        return examples
    return examples.subset(np.linspace(0, len(examples) - 1, limit).round().astype(int))


def make_reference(
    model: keras.Model,
    examples: Examples,
    preprocessing: Preprocessing,
    folder: Path,
    task: Task,
    *,
    progress: Advance | None = None,
) -> Reference:
    """Runs the source model over the examples and stores its outputs, and its inputs for the runners.

    Rounding to half precision would hide or fake an error of the export, so that a model trained in mixed precision
    is compared by its weights in float32; its score is its own all the same.

    Args:
        model: pixels (B, H, W, channels) -> the task's outputs.
        examples: n of them.
        preprocessing: the model's record.
        folder: where they are stored.
        task: what the model was trained for.
        progress: is told how many images are done, and of how many.
    """
    mixed = any(layer.compute_dtype != "float32" for layer in model.layers)
    exact = float32_copy(model) if mixed else model
    files = {"images": folder / "images.npy", "encoded": folder / "encoded.npz"}
    shape = (len(examples), *preprocessing.image_size, preprocessing.channels)
    pixels = np.lib.format.open_memmap(files["images"], "w+", "uint8", shape)
    run, run_own = _outputs_of(exact, task), _outputs_of(model, task)
    stored, done = [], 0
    with _full_float32():
        for images in image_dataset(examples, preprocessing, batch_size=BATCH):
            made = [run(images), run_own(images)] if mixed else [run(images)]
            if not stored:
                shape = (len(examples), *made[0].shape[1:])
                names = ("outputs", "own")[: len(made)]
                stored = [np.lib.format.open_memmap(folder / f"{n}.npy", "w+", "float32", shape) for n in names]
            place = slice(done, done + len(images))
            pixels[place] = images.numpy()
            for array, outputs in zip(stored, made, strict=True):
                array[place] = outputs
            done = place.stop
            if progress:
                progress(done, len(examples))
    pixels.flush()
    _store_encoded(examples, files["encoded"])
    score = task.score(stored[-1], examples, preprocessing)
    return Reference(task, examples, preprocessing, stored[0], score, files)


def measure(
    artefact: Path,
    script: str,
    inputs: Sequence[str],
    reference: Reference,
    *,
    threads: int,
    pictures: Path | None = None,
    progress: Advance | None = None,
) -> dict:
    """Runs an artefact in clean processes, compares it with its source and looks into it.

    Args:
        artefact: the file or folder.
        script: of `runners/`, without its ending.
        inputs: which of the reference's inputs the script takes.
        reference: what `make_reference` returns.
        threads: of the runtime, for all images and `latency_ms`.
        pictures: folder that gets `INDEX.png` of disagreements, where the task draws them.
        progress: is told how many images are done, and of how many.

    Returns:
        The keys of `Comparison.figures` with `metric`, the file's score, and `metric_source`, the source's;
        `size_bytes`; `latency_ms`, median of the calls; `latency`, number of threads as text -> `median_ms` and
        `p95_ms`; `load_ms`; `peak_memory_bytes`, see `Results`; `disagreeing`, indices of the images about which the
        file decides otherwise than the source, and `disagreements`, some of them in detail, see
        `comparison.disagreements`; `inspection`, see `inspect`; and `signatures`, comparison and latency per signature.
        The comparison of the whole takes the worst signature in each figure; all else is of the model alone.

    Raises:
        ExportFailed: the artefact does not load or does not run.
    """
    given = {name: reference.inputs[name] for name in inputs}
    results = run_file(artefact, script, given, threads=threads, progress=progress)
    timed = {threads: results} | {
        count: run_file(artefact, script, given, threads=count, first=TIMED) for count in THREADS if count != threads
    }
    outputs, task, examples = results.outputs[MODEL_ALONE], reference.task, reference.examples
    compared = {name: compare(found, reference.outputs, task) for name, found in results.outputs.items()}
    signatures = {
        name: {
            **compared[name].figures(),
            "metric": reference.score_of(found),
            "latency_ms": float(np.median(results.latency_ms[name])),
        }
        for name, found in results.outputs.items()
    }
    told = disagreements(compared[MODEL_ALONE], outputs, reference.outputs, examples.labels, examples.names, task)
    if pictures:
        _draw(told, outputs, reference, pictures)
    return {
        **{name: _largest(s[name] for s in signatures.values()) for name in ("max_error", "mean_error", "kl")},
        "errors": {p.name: _largest(s["errors"][p.name] for s in signatures.values()) for p in task.parts},
        **{name: min(s[name] for s in signatures.values()) for name in ("agreement", "metric")},
        "metric_source": reference.score,
        "size_bytes": size_bytes(artefact),
        "latency_ms": signatures[MODEL_ALONE]["latency_ms"],
        "latency": {str(count): _latency(timed[count].latency_ms[MODEL_ALONE]) for count in sorted(timed)},
        "load_ms": results.load_ms,
        "peak_memory_bytes": results.peak_memory_bytes,
        "disagreeing": np.flatnonzero(compared[MODEL_ALONE].shares < 1).tolist(),
        "disagreements": told,
        "inspection": inspect(artefact),
        "signatures": signatures,
    }


def size_bytes(path: Path) -> int:
    """Size of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _latency(milliseconds: np.ndarray) -> dict[str, float]:
    return {"median_ms": float(np.median(milliseconds)), "p95_ms": float(np.percentile(milliseconds, 95))}


def _draw(told: Sequence[dict], outputs: np.ndarray, reference: Reference, folder: Path) -> None:
    images = np.load(reference.inputs["images"], mmap_mode="r")
    for index in (each["index"] for each in told):
        figure = reference.task.draw_both(images[index], reference.outputs[index], outputs[index])
        if figure:
            write_bytes(folder / f"{index}.png", to_png(figure))


def _store_encoded(examples: Examples, path: Path) -> None:
    files = [np.frombuffer(examples.raw(index), np.uint8) for index in range(len(examples))]
    np.savez(path, data=np.concatenate(files), offsets=np.cumsum([0, *map(len, files)]))


def _outputs_of(model: keras.Model, task: Task) -> Callable[[tf.Tensor], np.ndarray]:
    """Images -> what a file should give. Not `predict`, which would split a batch over the replicas that the model was
    trained on."""

    @tf.function(reduce_retracing=True)
    def outputs_of(images):
        shipped = task.shipped(tf.cast(model(images, training=False), tf.float32))
        return tf.concat([shipped[part.name] for part in task.parts], axis=-1)

    return lambda images: outputs_of(images).numpy()


def _largest(errors) -> float | None:
    errors = list(errors)
    return None if None in errors else max(errors)


@contextlib.contextmanager
def _full_float32() -> Iterator[None]:
    """TensorFloat-32, the default on recent GPUs, rounds matrix products by more than the tolerance."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)

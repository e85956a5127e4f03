"""What shipping costs: an exported file, run by its own runtime, against the model that it came from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_vit.data import Examples, eval_dataset
from keras_vit.export.comparison import TOP1, Metric, compare, disagreements
from keras_vit.export.graph import float32_copy
from keras_vit.export.inspect import inspect
from keras_vit.export.progress import Advance
from keras_vit.export.running import MODEL_ALONE, run_file
from keras_vit.preprocessing import Preprocessing

BATCH = 32
THREADS = (1, 2)
"""Every file's latency is measured with these numbers of threads."""
TIMED = 50
"""So many images are run with another number of threads than the one that all images are run with."""


@dataclass(frozen=True)
class Reference:
    """Validation images and what the source model makes of them.

    Attributes:
        labels: (n,) classes.
        probabilities: (n, C), of the source model's weights computing in float32.
        metric: what a file is scored by.
        score: the metric of the source model in the precision it was trained in.
        names: n names of the images.
        inputs: the same images for the runners, by the name of their argument: `images`, an .npy file of
            (n, H, W, channels) uint8, and `encoded`, an .npz file of the original image files.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    metric: Metric
    score: float
    names: list[str]
    inputs: dict[str, Path]


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
    *,
    metric: Metric = TOP1,
    progress: Advance | None = None,
) -> Reference:
    """Runs the source model over the examples and stores its inputs for the runners.

    Rounding to half precision would hide or fake an error of the export, so that a model trained in mixed precision
    is compared by its weights in float32; its score is its own all the same.

    Args:
        model: pixels (B, H, W, channels) -> logits (B, C).
        examples: n of them.
        preprocessing: the model's record.
        folder: where the inputs are stored.
        metric: what the files are scored by.
        progress: is told how many images are done, and of how many.
    """
    mixed = any(layer.compute_dtype != "float32" for layer in model.layers)
    exact = float32_copy(model) if mixed else model
    files = {"images": folder / "images.npy", "encoded": folder / "encoded.npz"}
    shape = (len(examples), *preprocessing.image_size, preprocessing.channels)
    pixels = np.lib.format.open_memmap(files["images"], "w+", "uint8", shape)
    run, run_own = _predictor(exact), _predictor(model)
    probabilities, own, done = [], [], 0
    batches = eval_dataset(examples, preprocessing, num_classes=model.output_shape[-1], batch_size=BATCH)
    with _full_float32():
        for images, _ in batches:
            pixels[done : done + len(images)] = images.numpy()
            probabilities.append(run(images))
            own.append(run_own(images) if mixed else probabilities[-1])
            done += len(images)
            if progress:
                progress(done, len(examples))
    pixels.flush()
    _store_encoded(examples, files["encoded"])
    return Reference(
        labels=examples.labels,
        probabilities=np.concatenate(probabilities),
        metric=metric,
        score=metric.score(np.concatenate(own), examples.labels),
        names=list(examples.names),
        inputs=files,
    )


def measure(
    artefact: Path,
    script: str,
    inputs: Sequence[str],
    reference: Reference,
    *,
    threads: int,
    progress: Advance | None = None,
) -> dict:
    """Runs an artefact in clean processes, compares it with its source and looks into it.

    Args:
        artefact: the file or folder.
        script: of `runners/`, without its ending.
        inputs: which of the reference's inputs the script takes.
        reference: what `make_reference` returns.
        threads: of the runtime, for all images and `latency_ms`.
        progress: is told how many images are done, and of how many.

    Returns:
        The keys of `comparison.compare` with `metric_source`, the source's score; `size_bytes`; `latency_ms`, median
        of the calls; `latency`, number of threads as text -> `median_ms` and `p95_ms`; `load_ms`;
        `peak_memory_bytes`, see `Results`; `disagreeing`, indices of the images for which the file chooses another
        class than the source, and `disagreements`, some of them in detail, see `comparison.disagreements`;
        `inspection`, see `inspect`; and `signatures`, comparison and latency per signature. The comparison of the
        whole takes the worst signature in each figure; all else is of the model alone.

    Raises:
        ExportFailed: the artefact does not load or does not run.
    """
    given = {name: reference.inputs[name] for name in inputs}
    results = run_file(artefact, script, given, threads=threads, progress=progress)
    timed = {threads: results} | {
        count: run_file(artefact, script, given, threads=count, first=TIMED) for count in THREADS if count != threads
    }
    outputs = results.probabilities[MODEL_ALONE]
    signatures = {
        name: {
            **compare(probabilities, reference.probabilities, reference.labels, reference.metric),
            "latency_ms": float(np.median(results.latency_ms[name])),
        }
        for name, probabilities in results.probabilities.items()
    }
    disagreeing = np.flatnonzero(outputs.argmax(-1) != reference.probabilities.argmax(-1))
    return {
        **{name: _largest(s[name] for s in signatures.values()) for name in ("max_error", "mean_error", "kl")},
        **{name: min(s[name] for s in signatures.values()) for name in ("agreement", "metric")},
        "metric_source": reference.score,
        "size_bytes": size_bytes(artefact),
        "latency_ms": signatures[MODEL_ALONE]["latency_ms"],
        "latency": {str(count): _latency(timed[count].latency_ms[MODEL_ALONE]) for count in sorted(timed)},
        "load_ms": results.load_ms,
        "peak_memory_bytes": results.peak_memory_bytes,
        "disagreeing": disagreeing.tolist(),
        "disagreements": disagreements(outputs, reference.probabilities, reference.labels, reference.names),
        "inspection": inspect(artefact),
        "signatures": signatures,
    }


def size_bytes(path: Path) -> int:
    """Size of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _latency(milliseconds: np.ndarray) -> dict[str, float]:
    return {"median_ms": float(np.median(milliseconds)), "p95_ms": float(np.percentile(milliseconds, 95))}


def _store_encoded(examples: Examples, path: Path) -> None:
    files = [np.frombuffer(examples.raw(index), np.uint8) for index in range(len(examples))]
    np.savez(path, data=np.concatenate(files), offsets=np.cumsum([0, *map(len, files)]))


def _predictor(model: keras.Model) -> Callable[[tf.Tensor], np.ndarray]:
    """Images -> probabilities. Not `predict`, which would split a batch over the replicas the model was trained on."""

    @tf.function(reduce_retracing=True)
    def logits_of(images):
        return model(images, training=False)

    def run(images):
        logits = logits_of(images).numpy().astype("float64")
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)

    return run


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

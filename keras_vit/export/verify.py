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
from keras_vit.export.graph import float32_copy
from keras_vit.export.process import RUNNERS, run_script
from keras_vit.preprocessing import Preprocessing

BATCH = 32
LATENCY_SIGNATURE = "serving_default"
"""The signature whose latency stands for the file: the model alone, without decoding."""


@dataclass(frozen=True)
class Reference:
    """Validation images and what the source model makes of them.

    Attributes:
        labels: (n,) classes.
        probabilities: (n, C), of the source model's weights computing in float32.
        top1: accuracy of the source model in the precision it was trained in.
        inputs: the same images for the runners, by the name of their argument: `images`, an .npy file of
            (n, H, W, channels) uint8, and `encoded`, an .npz file of the original image files.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    top1: float
    inputs: dict[str, Path]


def spread(examples: Examples, limit: int) -> Examples:
    """At most `limit` examples, evenly spaced: folders list one class after the other."""
    if len(examples) <= limit:
        return examples
    return examples.subset(np.linspace(0, len(examples) - 1, limit).round().astype(int))


def make_reference(model: keras.Model, examples: Examples, preprocessing: Preprocessing, folder: Path) -> Reference:
    """Runs the source model over the examples and stores its inputs for the runners.

    Rounding to half precision would hide or fake an error of the export, so that a model trained in mixed precision
    is compared by its weights in float32; its accuracy is its own all the same.

    Args:
        model: pixels (B, H, W, channels) -> logits (B, C).
        examples: n of them.
        preprocessing: the model's record.
        folder: where the inputs are stored.
    """
    mixed = any(layer.compute_dtype != "float32" for layer in model.layers)
    exact = float32_copy(model) if mixed else model
    files = {"images": folder / "images.npy", "encoded": folder / "encoded.npz"}
    shape = (len(examples), *preprocessing.image_size, preprocessing.channels)
    pixels = np.lib.format.open_memmap(files["images"], "w+", "uint8", shape)
    run, run_own = _predictor(exact), _predictor(model)
    probabilities, own = [], []
    batches = eval_dataset(examples, preprocessing, num_classes=model.output_shape[-1], batch_size=BATCH)
    with _full_float32():
        for number, (images, _) in enumerate(batches):
            pixels[number * BATCH : number * BATCH + len(images)] = images.numpy()
            probabilities.append(run(images))
            own.append(run_own(images) if mixed else probabilities[-1])
    pixels.flush()
    _store_encoded(examples, files["encoded"])
    top1 = accuracy(np.concatenate(own), examples.labels)
    return Reference(examples.labels, np.concatenate(probabilities), top1, files)


def measure(artefact: Path, script: str, inputs: Sequence[str], reference: Reference, *, threads: int) -> dict:
    """Runs an artefact in a clean process and compares it with its source.

    Args:
        artefact: the file or folder.
        script: of `runners/`, without its ending.
        inputs: which of the reference's inputs the script takes.
        reference: what `make_reference` returns.
        threads: of the runtime.

    Returns:
        `max_error` and `mean_error` of the probabilities (None when one is not finite), `agreement` (share of images
        with the source's top-1 class), `metric` and `metric_source` (top-1 accuracy), `size_bytes`, `latency_ms`
        (median of single-image calls) and `signatures`, the same per signature. The errors of the whole are those of
        its worst signature.

    Raises:
        ExportFailed: the artefact does not load or does not run.
    """
    results = artefact.with_name(f"{artefact.name}.npz")
    arguments = [part for name in inputs for part in (f"--{name}", reference.inputs[name])]
    run_script(
        RUNNERS / f"{script}.py",
        [artefact, results, *arguments, "--threads", str(threads)],
        log=artefact.with_name(f"{artefact.name}.log"),
        stage=f"Running {artefact.name}",
        remedy="a file that does not run in its own runtime is not shipped; its log says why.",
    )
    with np.load(results) as stored:
        names = [key.removesuffix(".probabilities") for key in stored if key.endswith(".probabilities")]
        signatures = {
            name: {
                **compare(stored[f"{name}.probabilities"], reference),
                "latency_ms": float(np.median(stored[f"{name}.latency_ms"])),
            }
            for name in names
        }
    results.unlink()
    return {
        **{name: _largest(s[name] for s in signatures.values()) for name in ("max_error", "mean_error")},
        **{name: min(s[name] for s in signatures.values()) for name in ("agreement", "metric")},
        "metric_source": reference.top1,
        "size_bytes": size_bytes(artefact),
        "latency_ms": signatures[LATENCY_SIGNATURE]["latency_ms"],
        "signatures": signatures,
    }


def compare(probabilities: np.ndarray, reference: Reference) -> dict:
    """Errors, agreement and accuracy of (n, C) probabilities; see `measure`."""
    error = np.abs(probabilities.astype("float64") - reference.probabilities)
    finite = bool(np.isfinite(error).all())
    same = probabilities.argmax(-1) == reference.probabilities.argmax(-1)
    return {
        "max_error": float(error.max()) if finite else None,
        "mean_error": float(error.mean()) if finite else None,
        "agreement": float(same.mean()),
        "metric": accuracy(probabilities, reference.labels),
    }


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Top-1 accuracy, a fraction, of (n, C) probabilities and (n,) labels."""
    return float((probabilities.argmax(-1) == labels).mean())


def size_bytes(path: Path) -> int:
    """Size of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


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

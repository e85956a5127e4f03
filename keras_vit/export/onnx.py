"""ONNX files: float32, or matrices in int8, made so that onnxruntime runs them fast."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_vit.errors import InputError
from keras_vit.export.errors import ExportFailed
from keras_vit.export.graph import OUTPUT, ExportGraph, named
from keras_vit.export.process import RUNNERS, run_script
from keras_vit.files import atomic
from keras_vit.preprocessing import Preprocessing

OPSETS = range(13, 19)
"""Versions of ONNX's operators that tf2onnx writes correctly."""

LARGEST = 2**31 - 2**24
"""Bytes of weights that fit into one ONNX file: protobuf ends at 2 GiB, and the graph needs some room."""

NAME, LABELS, PREPROCESSING, TASK, LICENSE = "name", "labels", "preprocessing", "task", "license"
"""Keys of the metadata properties: plain text, the class names as a JSON list, the record and the task as JSON objects,
text."""


def write_onnx(
    graph: ExportGraph,
    path: Path,
    *,
    batch: int | None = 1,
    opset: int = 18,
    output: str = OUTPUT,
    class_names: Sequence[str] = (),
    preprocessing: Preprocessing | None = None,
    task: Mapping | None = None,
    license: str = "",
) -> None:
    """Converts to an `.onnx` file: `image` (batch, H, W, channels) float32 -> the graph's outputs, such as
    `probabilities` (batch, C).

    tf2onnx works in a process of its own, which also checks the file and opens it in onnxruntime: tf2onnx itself
    reports an operation that it cannot translate in its log only.

    Args:
        graph: what `export_graph` returns; its own batch is unknown or the one asked for.
        path: of the file.
        batch: images a call, None for any number.
        opset: version of ONNX's operators.
        output: name of an output that has none from its graph: another one suits logits.
        class_names: C names; stored in the file.
        preprocessing: the model's record; stored in the file.
        task: what `describe_task` says of the model's task; stored in the file.
        license: of the weights; stored in the file.

    Raises:
        InputError: onnx or onnxruntime is missing, the opset is not one of `OPSETS`, or the weights do not fit into one
            file.
        ExportFailed: the conversion failed, or its file does not open.
    """
    require_onnx()
    if opset not in OPSETS:
        raise InputError(f"opset {opset} is not written: choose from {OPSETS[0]} to {OPSETS[-1]}.")
    about = {NAME: graph.name, LICENSE: license}
    if class_names:
        about[LABELS] = json.dumps(list(class_names))
    if preprocessing:
        about[PREPROCESSING] = json.dumps(preprocessing.to_dict())
    if task:
        about[TASK] = json.dumps(task)

    with atomic(path) as partial, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        saved, metadata = Path(folder, "saved_model"), Path(folder, "metadata.json")
        metadata.write_text(json.dumps({key: text for key, text in about.items() if text}), encoding="utf-8")
        _save(graph, saved, batch, output)
        weights = sum(file.stat().st_size for file in (saved / "variables").iterdir())
        if weights > LARGEST:
            raise InputError(
                f"{graph.name} has {weights / 1e9:.1f} GB of weights, and an ONNX file holds {LARGEST / 1e9:.1f} GB: "
                "export it as a SavedModel."
            )
        run_script(
            RUNNERS / "convert_onnx.py",
            [saved, partial.absolute(), "--opset", str(opset), "--metadata", metadata],
            log=path.absolute().with_name(f"{path.name}.log"),
            stage=f"Converting {graph.name} to {path.name}",
            remedy="its log says which operation was refused; leave this format out to export the others.",
        )


def quantize_onnx(source: Path, path: Path, *, keep: int = 1) -> None:
    """Writes an `.onnx` file like another one whose matrices are int8, a quarter of the size.

    Weights are int8 with a scale per output channel, and activations are quantised while running (onnxruntime's dynamic
    quantisation); LayerNorm, GELU, softmax and the products inside attention stay in float32. Nothing is calibrated. On
    images of ImageNet this was faster and nearer to float32 than static quantisation of the same matrices.

    Args:
        source: a float32 file of `write_onnx`.
        path: of the new file; in- and output and the metadata are those of the source.
        keep: so many of the first matrices stay in float32, for what they lose, every layer after them has lost; the
            first one is the patch embedding.

    Raises:
        InputError: onnx or onnxruntime is missing.
        ExportFailed: the quantisation failed, or its file does not open.
    """
    require_onnx()
    with atomic(path) as partial:
        run_script(
            RUNNERS / "quantize_onnx.py",
            [source.absolute(), partial.absolute(), "--keep", str(keep)],
            log=path.absolute().with_name(f"{path.name}.log"),
            stage=f"Quantising {source.name} to {path.name}",
            remedy="its log says why; leave this format out to export the others.",
        )


def require_onnx() -> None:
    """Makes sure that ONNX files can be made and opened.

    Raises:
        InputError: a package is missing.
    """
    missing = [name for name in ("onnx", "onnxruntime", "tf2onnx") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"ONNX needs {' and '.join(missing)}: pip install 'keras_vit[onnx]'.")


def _save(graph: ExportGraph, folder: Path, batch: int | None, output: str) -> None:
    import tensorflow as tf

    if graph.input_shape[0] not in (None, batch):
        raise ExportFailed(
            f"The graph of {graph.name} takes {graph.input_shape[0]} image(s) a call and not {batch}: "
            "make it for any batch."
        )

    @tf.function(input_signature=[tf.TensorSpec((batch, *graph.input_shape[1:]), tf.float32, name="image")])
    def serve(image):
        return named(graph(image), output)

    module = tf.Module()
    module.graph, module.serve = graph, serve
    tf.saved_model.save(module, folder, {"serving_default": serve})

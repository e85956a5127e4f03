"""TFLite (LiteRT) files: one image in, built-in operators only, with floating-point activations."""

from __future__ import annotations

import tempfile
from pathlib import Path

from keras_vit.export.errors import ExportFailed
from keras_vit.export.graph import ExportGraph, named
from keras_vit.export.inspect import obstacles
from keras_vit.export.process import RUNNERS, run_script

WEIGHTS = ("float32", "float16")
"""How the converter stores weights: as they are, or in half precision, read back as float32. Integers are for
`keras_vit.export.quantize`."""


def write_tflite(graph: ExportGraph, path: Path, *, weights: str = "float32") -> None:
    """Converts to a `.tflite` file with the signature `image` (1, H, W, channels) float32 -> the graph's outputs.

    The batch is static: with an unknown one the converter fills the graph with shape arithmetic that delegates refuse.
    The converter leaks memory and can abort, so it works in a process of its own.

    Args:
        graph: what `export_graph` returns for a fixed batch.
        path: of the file.
        weights: one of `WEIGHTS`; in- and output are float32 in any case.

    Raises:
        ExportFailed: the converter failed, or its file needs operators that are not built in or has unknown shapes.
    """
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec(graph.input_shape, tf.float32, name="image")])
    def serve(image):
        return named(graph(image))

    module = tf.Module()
    module.graph, module.serve = graph, serve
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        tf.saved_model.save(module, folder, {"serving_default": serve})
        run_script(
            RUNNERS / "convert_tflite.py",
            [folder, path, "--weights", weights],
            log=path.with_name(f"{path.name}.log"),
            stage=f"Converting {graph.name} to {path.name}",
            remedy="its log says which operation was refused; leave this format out to export the others.",
        )
    if found := obstacles(path):
        raise ExportFailed(
            f"{path.name} would not run everywhere because it has {', '.join(found)}: write these parts of the model "
            "with operations that TFLite has, or leave this format out."
        )

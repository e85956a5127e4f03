"""Files for edge runtimes, made here from the export graph, and the programs that run them outside of the package."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_vit.export import export_graph

KINDS = {
    "float32": {},
    "int8-dynamic": {"dynamic": True},
    "uint8": {"input_type": tf.uint8, "output_type": tf.uint8},
    "uint8-float": {"input_type": tf.uint8, "output_type": tf.float32},
}
"""What a file takes and gives: float32 with float or int8 weights, or uint8 pixels with uint8 or float scores."""


SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "edge" / "predict.py"


def edge_script():
    """The example `scripts/edge/predict.py` as a module."""
    spec = importlib.util.spec_from_file_location("edge_predict", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def convert(model: keras.Model, path: Path, images: np.ndarray, *, dynamic=False, input_type=None, output_type=None):
    """A `.tflite` file without metadata; full integer, calibrated on `images`, where an input type is given."""
    graph = export_graph(model, batch=1)
    module = tf.Module()
    module.graph = graph
    signature = [tf.TensorSpec(graph.input_shape, tf.float32, name="image")]
    module.serve = tf.function(lambda image: {"probabilities": graph(image)}, input_signature=signature)
    folder = path.with_suffix("")
    tf.saved_model.save(module, folder, {"serving_default": module.serve})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=["serving_default"])
    if dynamic or input_type:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if input_type:
        converter.representative_dataset = lambda: ([image[None].astype("float32")] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type, converter.inference_output_type = input_type, output_type
    path.write_bytes(converter.convert())


def run_tflite(path: Path, images: np.ndarray) -> np.ndarray:
    """What LiteRT makes of images (n, H, W, channels), as the file gives it: (n, C)."""
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(model_path=str(path), num_threads=1).get_signature_runner("serving_default")
    dtype = run.get_input_details()["image"]["dtype"]
    return np.concatenate([run(image=image[None].astype(dtype))["probabilities"] for image in images])


def run_mediapipe(paths: Sequence[Path], images: Sequence[np.ndarray]) -> list[list[dict]]:
    """The best class that MediaPipe's ImageClassifier finds in each image, of any size, for each file."""
    script = """
        import json, sys
        import numpy as np
        import mediapipe
        from mediapipe.tasks.python import vision
        from mediapipe.tasks.python.core.base_options import BaseOptions

        images = [mediapipe.Image(mediapipe.ImageFormat.SRGB, pixels) for pixels in np.load(sys.argv[1]).values()]
        for path in sys.argv[2:]:
            options = vision.ImageClassifierOptions(BaseOptions(model_asset_path=path), max_results=1)
            with vision.ImageClassifier.create_from_options(options) as classifier:
                best = [classifier.classify(image).classifications[0].categories[0] for image in images]
            print(json.dumps([{"index": c.index, "name": c.category_name, "score": c.score} for c in best]))
    """
    stored = paths[0].with_suffix(".npz")
    np.savez(stored, *images)
    command = [sys.executable, "-c", textwrap.dedent(script), stored, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    stored.unlink()
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]

"""Exported files opened for use: whatever the format, pixels 0..255 go in and probabilities come out.

Each opener needs its own runtime only and imports it when it is called.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

INPUT, OUTPUT = "image", "probabilities"


@dataclass(frozen=True)
class Opened:
    """A file that is ready to be called.

    Attributes:
        call: pixels 0..255, uint8 or float32 (B, H, W, channels) -> float32 probabilities (B, C).
        input_shape: (B, H, W, channels); B is None where the file takes any number of images.
        num_classes: C.
        class_names: C names, or none where the file does not hold any.
        preprocessing: the record in the file, or None.
    """

    call: Callable[[np.ndarray], np.ndarray]
    input_shape: tuple[int | None, int, int, int]
    num_classes: int
    class_names: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None


def open_tflite(path: Path, threads: int) -> Opened:
    """A `.tflite` file of any kind; quantised in- and outputs are converted by their scale and zero point."""
    from ai_edge_litert.interpreter import Interpreter

    from keras_vit.export.metadata import read_metadata
    from keras_vit.export.runners.harness import dequantize, quantize

    # Before the interpreter sees the file: it does not check what it maps into memory.
    about = read_metadata(path)
    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    given, result = inputs[0], outputs[0]
    shape = _image_shape(path, [d["shape_signature"] for d in inputs], [d["shape_signature"] for d in outputs])
    mean, std = np.array(about.mean or 0.0, "float32"), np.array(about.std or 1.0, "float32")

    def call(images: np.ndarray) -> np.ndarray:
        if given["dtype"] is np.float32:
            images = (images - mean) / std
        interpreter.set_tensor(given["index"], quantize(images, given["dtype"], *given["quantization"]))
        interpreter.invoke()
        return dequantize(interpreter.get_tensor(result["index"]), *result["quantization"])

    return Opened(call, shape, int(result["shape"][-1]), about.class_names, about.preprocessing)


def open_onnx(path: Path, threads: int) -> Opened:
    """An `.onnx` file; labels and record are in its metadata properties."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{path.name} is run by onnxruntime: pip install 'keras_vit[onnx]'.") from error

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape = _image_shape(path, [value.shape for value in inputs], [value.shape for value in outputs])
    about = session.get_modelmeta().custom_metadata_map
    record = about.get("preprocessing")

    def call(images: np.ndarray) -> np.ndarray:
        return session.run(None, {inputs[0].name: images.astype("float32")})[0]

    return Opened(
        call,
        shape,
        outputs[0].shape[1],
        tuple(json.loads(about.get("labels", "[]"))),
        Preprocessing(**json.loads(record)) if record else None,
    )


def open_saved_model(path: Path, threads: int) -> Opened:
    """A SavedModel folder; labels are a signature of its own. TensorFlow's threads are the process's."""
    import tensorflow as tf

    model = tf.saved_model.load(path)
    serve = model.signatures["serving_default"]
    given, result = serve.structured_input_signature[1], serve.structured_outputs
    shape = _image_shape(path, [spec.shape for spec in given.values()], [spec.shape for spec in result.values()])
    names = model.signatures["labels"]()["labels"].numpy() if "labels" in model.signatures else ()

    def call(images: np.ndarray) -> np.ndarray:
        # Through the loaded object: its variables belong to it and would go with it.
        return model.signatures["serving_default"](**{INPUT: tf.constant(images, tf.float32)})[OUTPUT].numpy()

    return Opened(call, shape, int(result[OUTPUT].shape[-1]), tuple(name.decode() for name in names))


def _image_shape(path: Path, inputs: list, outputs: list) -> tuple[int | None, int, int, int]:
    """The shape of the one input; sizes that are not fixed are names, -1 or None, depending on the runtime."""
    shapes = [
        [tuple(int(n) if isinstance(n, int | np.integer) and n > 0 else None for n in shape) for shape in side]
        for side in (inputs, outputs)
    ]
    if [[len(shape) for shape in side] for side in shapes] != [[4], [2]] or None in shapes[0][0][1:]:
        raise InputError(
            f"{path} is no exported classifier: it takes {shapes[0]} and gives {shapes[1]}, not one image batch "
            "(B, height, width, channels) and one row of probabilities (B, classes)."
        )
    return shapes[0][0]

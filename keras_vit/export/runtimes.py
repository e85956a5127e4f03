"""Exported files opened for use: whatever the format, pixels 0..255 go in and what the task ships comes out.

Each opener needs its own runtime only and imports it when it is called.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

INPUT = "image"


@dataclass(frozen=True)
class Opened:
    """A file that is ready to be called.

    Attributes:
        call: pixels 0..255, uint8 or float32 (B, H, W, channels) -> the outputs, float32 (B, ..., K), side by side
            along the last axis in the order of their names, where there are several.
        input_shape: (B, H, W, channels); B is None where the file takes any number of images.
        output_shapes: name of an output -> its shape, in the order of the names; the last one has one column a class.
        class_names: C names, or none where the file does not hold any.
        preprocessing: the record in the file, or None.
        task: `{"name", "options"}` of the model's task, or None where the file does not say.
    """

    call: Callable[[np.ndarray], np.ndarray]
    input_shape: tuple[int | None, int, int, int]
    output_shapes: Mapping[str, tuple[int | None, ...]]
    class_names: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    task: Mapping | None = None

    @property
    def num_classes(self) -> int:
        """C."""
        return list(self.output_shapes.values())[-1][-1]

    @property
    def row_shape(self) -> tuple[int, ...]:
        """(..., K), of what is said about one image."""
        shapes = list(self.output_shapes.values())
        return (*shapes[0][1:-1], sum(shape[-1] for shape in shapes))


def open_tflite(path: Path, threads: int) -> Opened:
    """A `.tflite` file of any kind; quantised in- and outputs are converted by their scale and zero point."""
    from ai_edge_litert.interpreter import Interpreter

    from keras_vit.export.metadata import read_metadata
    from keras_vit.export.runners.harness import dequantize, quantize, side_by_side
    from keras_vit.export.runners.run_tflite import outputs_by_name

    # Before the interpreter sees the file: it does not check what it maps into memory.
    about = read_metadata(path)
    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), outputs_by_name(interpreter)
    given = inputs[0]
    shape, shapes = _shapes(
        path, [d["shape_signature"] for d in inputs], {name: d["shape_signature"] for name, d in outputs.items()}
    )
    mean, std = np.array(about.mean or 0.0, "float32"), np.array(about.std or 1.0, "float32")

    def call(images: np.ndarray) -> np.ndarray:
        if given["dtype"] is np.float32:
            images = (images - mean) / std
        interpreter.set_tensor(given["index"], quantize(images, given["dtype"], *given["quantization"]))
        interpreter.invoke()
        found = {name: (interpreter.get_tensor(each["index"]), each["quantization"]) for name, each in outputs.items()}
        return side_by_side({name: dequantize(values, *scale) for name, (values, scale) in found.items()})

    return Opened(call, shape, shapes, about.class_names, about.preprocessing, about.task)


def open_onnx(path: Path, threads: int) -> Opened:
    """An `.onnx` file; labels and record are in its metadata properties."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{path.name} is run by onnxruntime: pip install 'keras_vit[onnx]'.") from error

    from keras_vit.export.runners.harness import side_by_side

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape, shapes = _shapes(path, [value.shape for value in inputs], {value.name: value.shape for value in outputs})
    about = session.get_modelmeta().custom_metadata_map

    def call(images: np.ndarray) -> np.ndarray:
        found = session.run(list(shapes), {inputs[0].name: images.astype("float32")})
        return side_by_side(dict(zip(shapes, found, strict=True)))

    return Opened(call, shape, shapes, tuple(json.loads(about.get("labels", "[]"))), *_about(about))


def open_saved_model(path: Path, threads: int) -> Opened:
    """A SavedModel folder; labels and what else it says are signatures of their own. TensorFlow's threads are the
    process's."""
    import tensorflow as tf

    from keras_vit.export.runners.harness import side_by_side

    model = tf.saved_model.load(path)
    serve = model.signatures["serving_default"]
    given, results = serve.structured_input_signature[1], serve.structured_outputs
    shape, shapes = _shapes(
        path, [spec.shape for spec in given.values()], {name: spec.shape for name, spec in results.items()}
    )
    names = model.signatures["labels"]()["labels"].numpy() if "labels" in model.signatures else ()
    about = model.signatures["about"]() if "about" in model.signatures else {}
    about = {key: value.numpy().decode() for key, value in about.items()}

    def call(images: np.ndarray) -> np.ndarray:
        # Through the loaded object: its variables belong to it and would go with it.
        return side_by_side(model.signatures["serving_default"](**{INPUT: tf.constant(images, tf.float32)}))

    return Opened(call, shape, shapes, tuple(name.decode() for name in names), *_about(about))


def _about(told: Mapping[str, str]) -> tuple[Preprocessing | None, Mapping | None]:
    """Record and task from their JSON, None for what is not told."""
    record, task = (json.loads(told[key]) if key in told else None for key in ("preprocessing", "task"))
    return Preprocessing(**record) if record else None, task


def _shapes(path: Path, inputs: list, outputs: Mapping) -> tuple[tuple, dict[str, tuple]]:
    """The shapes of the one input and of the outputs, ordered by name; sizes that are not fixed are names, -1 or None,
    depending on the runtime."""

    def known(shape):
        return tuple(int(n) if isinstance(n, int | np.integer) and n > 0 else None for n in shape)

    taken, given = [known(shape) for shape in inputs], {name: known(outputs[name]) for name in sorted(outputs)}
    wanted = [len(shape) for shape in taken] == [4] and None not in taken[0][1:]
    alike = len({shape[1:-1] for shape in given.values()}) == 1
    if not (wanted and alike and all(len(shape) >= 2 and None not in shape[1:] for shape in given.values())):
        raise InputError(
            f"{path} is no exported model: it takes {taken} and gives {list(given.values())}, not one image batch "
            "(B, height, width, channels) and a row of numbers for each image or each of its places (B, ..., classes)."
        )
    return taken[0], given

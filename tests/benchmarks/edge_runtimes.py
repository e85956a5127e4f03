"""A .tflite or .onnx file, opened in its own runtime and ready to be timed. Needs numpy and the two runtimes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np


class TFLiteFile:
    """A .tflite file in LiteRT's interpreter, which hands what it can to XNNPACK.

    Args:
        path: of the file.
        threads: of the interpreter.
    """

    def __init__(self, path: Path, threads: int):
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(model_path=str(path), num_threads=threads)
        self.interpreter.allocate_tensors()
        (self.input,) = self.interpreter.get_input_details()
        self.output = self.interpreter.get_output_details()[0]
        self.shape, self.dtype = tuple(self.input["shape"]), np.dtype(self.input["dtype"])

    def feed(self, image: np.ndarray) -> None:
        """Sets the input that `call` works on."""
        self.interpreter.set_tensor(self.input["index"], image)

    def call(self) -> None:
        """Computes once."""
        self.interpreter.invoke()

    def result(self) -> np.ndarray:
        """(1, C), of the last call."""
        return self.interpreter.get_tensor(self.output["index"])


class ONNXFile:
    """An .onnx file in ONNX Runtime on the CPU, all settings but the threads as they come.

    Args:
        path: of the file.
        threads: within an operator.
    """

    def __init__(self, path: Path, threads: int):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (self.input,) = self.session.get_inputs()
        # A batch that is free has a name or None for its length.
        self.shape = tuple(length if isinstance(length, int) else 1 for length in self.input.shape)
        self.dtype = np.dtype({"tensor(float)": "float32", "tensor(uint8)": "uint8"}[self.input.type])

    def feed(self, image: np.ndarray) -> None:
        """Sets the input that `call` works on."""
        self.image = {self.input.name: image}

    def call(self) -> None:
        """Computes once."""
        self.outputs = self.session.run(None, self.image)

    def result(self) -> np.ndarray:
        """(1, C), of the last call."""
        return self.outputs[0]


RUNTIMES = {".tflite": TFLiteFile, ".onnx": ONNXFile}
"""Ending of a file -> what runs it."""


def open_file(path: Path, threads: int) -> TFLiteFile | ONNXFile:
    """The file in its runtime, fed with an image of random pixels in the form that it takes."""
    file = RUNTIMES[path.suffix](path, threads)
    pixels = np.random.default_rng(0).integers(0, 256, file.shape)
    file.feed((pixels - 128 if file.dtype == np.int8 else pixels).astype(file.dtype))
    return file


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""`cpu` is the processor time of all threads of this process: with one thread, what a call costs on a busy machine."""


def timed(file: TFLiteFile | ONNXFile, calls: int, clock: str) -> list[float]:
    """Milliseconds of so many calls, after one that is not counted: it finds caches and threads of the file before."""
    now = CLOCKS[clock]
    file.call()
    milliseconds = []
    for _ in range(calls):
        start = now()
        file.call()
        milliseconds.append(1000 * (now() - start))
    return milliseconds


def logits_error(file: TFLiteFile | ONNXFile, images: np.ndarray, logits: np.ndarray) -> float:
    """Largest difference between a file's logits and the right ones.

    A file that ends in a softmax still shows its logits, up to a constant per image; a constant is therefore taken
    off both sides.

    Args:
        file: takes one image at a time, gives logits or probabilities (1, C).
        images: (n, H, W, channels) float32.
        logits: (n, C).
    """
    largest = 0.0
    for image, right in zip(images, logits, strict=True):
        file.feed(image[None])
        file.call()
        given = file.result()[0].astype("float64")
        if given.min() >= 0 and abs(given.sum() - 1) < 1e-3:
            given = np.log(given)
        difference = (given - given.mean()) - (right - right.mean(dtype="float64"))
        largest = max(largest, float(np.abs(difference).max()))
    return largest

"""Runs a TFLite file over images with ai_edge_litert and numpy, and nothing else.

python run_tflite.py MODEL.tflite OUT.npz --images IMAGES.npy --threads 2

The contract is in the docstring of `runners`. Floats in are the pixels 0..255; so are uint8 and int8 through the
input's own scale and zero point.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

sys.path.insert(0, str(Path(__file__).parent))

from harness import Signature, dequantize, main, quantize


def load(path: str, threads: int) -> dict[str, Signature]:
    """The file's first input and output, whatever they are called: not every converter writes signatures."""
    interpreter = Interpreter(model_path=path, num_threads=threads)
    interpreter.allocate_tensors()
    given, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def call(images: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given["index"], quantize(images, given["dtype"], *given["quantization"]))
        interpreter.invoke()
        return dequantize(interpreter.get_tensor(result["index"]), *result["quantization"])

    return {"serving_default": Signature(call, batch=int(given["shape"][0]))}


if __name__ == "__main__":
    main(load, foreign=("keras_vit", "keras", "tensorflow"), usage=__doc__)

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

from harness import Signature, dequantize, main, quantize, side_by_side


def load(path: str, threads: int) -> dict[str, Signature]:
    """The file's first input and all outputs."""
    interpreter = Interpreter(model_path=path, num_threads=threads)
    interpreter.allocate_tensors()
    given, results = interpreter.get_input_details()[0], outputs_by_name(interpreter)

    def call(images: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given["index"], quantize(images, given["dtype"], *given["quantization"]))
        interpreter.invoke()
        found = {name: (interpreter.get_tensor(each["index"]), each["quantization"]) for name, each in results.items()}
        return side_by_side({name: dequantize(values, *scale) for name, (values, scale) in found.items()})

    return {"serving_default": Signature(call, batch=int(given["shape"][0]))}


def outputs_by_name(interpreter: Interpreter) -> dict[str, dict]:
    """The details of the outputs, by their names in the signature; by place where a converter wrote none."""
    signatures = interpreter.get_signature_list()
    if not signatures:
        return {f"{place:03}": details for place, details in enumerate(interpreter.get_output_details())}
    return interpreter.get_signature_runner(next(iter(signatures))).get_output_details()


if __name__ == "__main__":
    main(load, foreign=("keras_vit", "keras", "tensorflow"), usage=__doc__)

"""Runs an ONNX file over images with onnxruntime and numpy, and nothing else.

python run_onnx.py MODEL.onnx OUT.npz --images IMAGES.npy --threads 2

The contract is in the docstring of `runners`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime

sys.path.insert(0, str(Path(__file__).parent))

from harness import Signature, main, side_by_side


def load(path: str, threads: int) -> dict[str, Signature]:
    """The file's first input and all outputs; an unknown batch is run image by image."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    given, names = session.get_inputs()[0], [output.name for output in session.get_outputs()]

    def call(images: np.ndarray) -> np.ndarray:
        found = session.run(names, {given.name: images.astype("float32")})
        return side_by_side(dict(zip(names, found, strict=True)))

    static = isinstance(given.shape[0], int)
    return {"serving_default": Signature(call, batch=given.shape[0] if static else 1)}


if __name__ == "__main__":
    main(load, foreign=("keras_vit", "keras", "tensorflow"), usage=__doc__)

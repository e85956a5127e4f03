"""Runs a TFLite file over images with ai_edge_litert and numpy, and nothing else.

python run_tflite.py MODEL.tflite OUT.npz --images IMAGES.npy --threads 2

IMAGES is (n, H, W, channels), pixels 0..255. OUT gets `serving_default.probabilities` (n, C) and
`serving_default.latency_ms` (n,), the time of each single-image call after the warm-up.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter

WARM_UP = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--images", required=True)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    images = np.load(arguments.images, mmap_mode="r")
    interpreter = Interpreter(model_path=arguments.model, num_threads=arguments.threads)
    run = interpreter.get_signature_runner("serving_default")
    probabilities, latency = [], []
    for index in [0] * WARM_UP + list(range(len(images))):
        image = images[index : index + 1].astype("float32")
        start = time.perf_counter()
        outputs = run(image=image)
        latency.append(1000 * (time.perf_counter() - start))
        probabilities.append(outputs["probabilities"][0])
    np.savez(
        arguments.out,
        **{
            "serving_default.probabilities": np.stack(probabilities[WARM_UP:]),
            "serving_default.latency_ms": np.array(latency[WARM_UP:]),
        },
    )
    foreign = {"keras_vit", "keras", "tensorflow"} & set(sys.modules)
    if foreign:
        sys.exit(f"not a clean process: {', '.join(sorted(foreign))} was imported")


if __name__ == "__main__":
    main()

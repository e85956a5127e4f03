"""Runs both signatures of an exported SavedModel with tensorflow and numpy.

python run_saved_model.py FOLDER OUT.npz --images IMAGES.npy --encoded FILES.npz --threads 2

IMAGES is (n, H, W, channels), pixels 0..255. FILES holds n image files as one array of bytes, `data`, and the n + 1
`offsets` where they start and end. OUT gets, for `serving_default` and `serve_bytes`, `NAME.probabilities` (n, C) and
`NAME.latency_ms`, the times of single-image calls after the warm-up.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import tensorflow as tf

BATCH = 32
WARM_UP = 3
TIMED = 50


def run(signature, name: str, inputs) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, C) in batches, and the milliseconds of single-image calls."""

    def call(start, stop):
        return signature(**{name: inputs(start, stop)})["probabilities"].numpy()

    count = inputs.count
    probabilities = np.concatenate([call(i, min(i + BATCH, count)) for i in range(0, count, BATCH)])
    latency = []
    for index in [0] * WARM_UP + list(range(min(TIMED, count))):
        start = time.perf_counter()
        call(index, index + 1)
        latency.append(1000 * (time.perf_counter() - start))
    return probabilities, np.array(latency[WARM_UP:])


class Images:
    """Pixels of a range of images, as a float32 tensor."""

    def __init__(self, path: str):
        self.array = np.load(path, mmap_mode="r")
        self.count = len(self.array)

    def __call__(self, start: int, stop: int) -> tf.Tensor:
        return tf.constant(self.array[start:stop].astype("float32"))


class Encoded:
    """A range of image files, as a string tensor."""

    def __init__(self, path: str):
        stored = np.load(path)
        self.data, self.offsets = stored["data"], stored["offsets"]
        self.count = len(self.offsets) - 1

    def __call__(self, start: int, stop: int) -> tf.Tensor:
        files = (self.data[self.offsets[i] : self.offsets[i + 1]] for i in range(start, stop))
        return tf.constant([file.tobytes() for file in files])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--images", required=True)
    parser.add_argument("--encoded", required=True)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    # The loaded object must outlive its signatures: their variables belong to it.
    model = tf.saved_model.load(arguments.model)
    results = {}
    for name, argument, inputs in (
        ("serving_default", "image", Images(arguments.images)),
        ("serve_bytes", "encoded", Encoded(arguments.encoded)),
    ):
        probabilities, latency = run(model.signatures[name], argument, inputs)
        results[f"{name}.probabilities"], results[f"{name}.latency_ms"] = probabilities, latency
    np.savez(arguments.out, **results)
    # Keras is not looked for: `import tensorflow` imports it by itself.
    if "keras_vit" in sys.modules:
        sys.exit("not a clean process: keras_vit was imported")


if __name__ == "__main__":
    main()

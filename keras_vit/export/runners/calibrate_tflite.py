"""Collects the statistics of every activation of a float32 TFLite file. Needs ai_edge_litert and numpy, nothing else.

python calibrate_tflite.py MODEL.tflite OUT.npz --images IMAGES.npy [--threads 2]

IMAGES is (n, H, W, channels) uint8, pixels 0..255. While it runs, standard output gets a line `k/n` for each image. OUT
gets, for T activations of the first subgraph and B bins:

- `tensors` (T,), their numbers in the file;
- `low`, `high` (n, T), the extremes in each image;
- `limits` (T,) and `counts` (T, B), histograms over [-limit, limit] of all images;
- `mean_K` for each input number K of a product with weights, its mean per channel (D,).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

BINS = 4096

_CODES = schema.BuiltinOperator
PRODUCTS = (_CODES.FULLY_CONNECTED, _CODES.CONV_2D, _CODES.DEPTHWISE_CONV_2D)


class Histogram:
    """Counts over [-limit, limit]; the limit doubles when a value lies outside, so that one pass is enough."""

    def __init__(self):
        self.limit = 0.0
        self.counts = np.zeros(BINS, np.int64)

    def add(self, values: np.ndarray, most: float) -> None:
        """Counts values, of which the largest absolute one is given."""
        if self.limit == 0:
            self.limit = float(most) or 1e-9
        while most > self.limit:
            inner, self.counts = self.counts.reshape(-1, 2).sum(1), np.zeros_like(self.counts)
            self.counts[BINS // 4 : BINS // 4 + BINS // 2] = inner
            self.limit *= 2
        places = ((values.reshape(-1) + self.limit) * (BINS / (2 * self.limit))).astype(np.int32)
        self.counts += np.bincount(np.minimum(places, BINS - 1), minlength=BINS)


def activations(path: Path) -> tuple[list[int], set[int]]:
    """Numbers of all float activations, and of those that a product with weights reads."""
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    graph = model.Subgraphs(0)
    tensors, read = set(graph.InputsAsNumpy().tolist()), set()
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        tensors |= set(operator.OutputsAsNumpy().tolist())
        if model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode() in PRODUCTS:
            read.add(operator.Inputs(0))
    floats = [i for i in sorted(tensors) if graph.Tensors(i).Type() == schema.TensorType.FLOAT32]
    return floats, read & set(floats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("out")
    parser.add_argument("--images", required=True)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    images = np.load(arguments.images, mmap_mode="r", allow_pickle=False)
    tensors, read = activations(arguments.model)
    # A delegate would keep its tensors to itself.
    interpreter = Interpreter(
        model_path=str(arguments.model),
        num_threads=arguments.threads,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]["index"]
    low, high = (np.zeros((len(images), len(tensors)), np.float32) for _ in range(2))
    histograms = [Histogram() for _ in tensors]
    means: dict[int, np.ndarray] = {}
    for number, image in enumerate(images):
        interpreter.set_tensor(given, image[None].astype("float32"))
        interpreter.invoke()
        for place, tensor in enumerate(tensors):
            values = interpreter.get_tensor(tensor)
            low[number, place], high[number, place] = values.min(), values.max()
            histograms[place].add(values, max(-low[number, place], high[number, place]))
            if tensor in read:
                mean = values.reshape(-1, values.shape[-1]).mean(0, dtype="float64")
                means[tensor] = means.get(tensor, 0) + mean / len(images)
        print(f"{number + 1}/{len(images)}", flush=True)
    np.savez(
        arguments.out,
        tensors=np.array(tensors),
        low=low,
        high=high,
        limits=np.array([histogram.limit for histogram in histograms]),
        counts=np.stack([histogram.counts for histogram in histograms]),
        **{f"mean_{tensor}": mean for tensor, mean in means.items()},
    )


if __name__ == "__main__":
    main()

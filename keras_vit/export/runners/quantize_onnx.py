"""Stores the matrices of an ONNX file in int8, checks the new file and opens it. Needs onnx and onnxruntime.

python quantize_onnx.py FLOAT.onnx OUT.onnx [--keep 1]

Weights are int8 with a scale per output channel; activations are quantised while running, with a scale of their own
for every call. Whatever is no product with a constant matrix stays in float32, and so do the first `--keep` of those:
what they lose, every layer after them has lost.
"""

from __future__ import annotations

import argparse

import onnx
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic

PRODUCTS = ("MatMul", "Gemm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("out")
    parser.add_argument("--keep", type=int, default=1)
    arguments = parser.parse_args()

    graph = onnx.load(arguments.source).graph
    constants = {tensor.name for tensor in graph.initializer}
    products = [node.name for node in graph.node if node.op_type in PRODUCTS and constants & set(node.input)]
    kept = products[: arguments.keep]
    quantize_dynamic(
        arguments.source,
        arguments.out,
        op_types_to_quantize=list(PRODUCTS),
        # A Gemm is split into a MatMul of this name and an Add before anything is quantised.
        nodes_to_exclude=[*kept, *(f"{name}_MatMul" for name in kept)],
        weight_type=QuantType.QInt8,
        per_channel=True,
        extra_options={"MatMulConstBOnly": True},
    )
    onnx.checker.check_model(arguments.out, full_check=True)
    onnxruntime.InferenceSession(arguments.out, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main()

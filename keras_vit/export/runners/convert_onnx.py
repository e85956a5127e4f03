"""Converts a SavedModel to an ONNX file, checks it and opens it. Needs tensorflow, tf2onnx, onnx and onnxruntime.

python convert_onnx.py SAVED_MODEL OUT.onnx --opset 18 --metadata ABOUT.json

ABOUT.json is an object of strings, which the file keeps as its metadata properties.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx

sys.path.append(str(Path(__file__).parent))

from onnx_patterns import rewrite
from tf2onnx.handler import tf_op


@tf_op("Erfc")
class Erfc:
    """What Keras writes a GELU with, and tf2onnx does not know: erfc(-x) is 1 + erf(x)."""

    @classmethod
    def version_9(cls, context, node, **_):
        """In place of `Erfc`, from opset 9 on.

        A product with a negated value loses its sign instead of getting one more, so that the GELU is recognised.
        """
        name, product = node.name, node.inputs[0]
        negated = [source for source in product.inputs if source.type == "Neg"]
        if product.type == "Mul" and negated:
            factors = [s.input[0] if s in negated[:1] else s.output[0] for s in product.inputs]
            positive = context.make_node("Mul", factors)
        else:
            positive = context.make_node("Neg", [product.output[0]])
        shapes, types = node.output_shapes, node.output_dtypes
        context.remove_node(name)
        one = context.make_const(tf2onnx.utils.make_name(name), np.ones((), "float32"))
        erf = context.make_node("Erf", [positive.output[0]])
        context.make_node(
            "Add", [erf.output[0], one.output[0]], name=name, outputs=node.output, shapes=shapes, dtypes=types
        )


def convert(folder: str, opset: int) -> onnx.ModelProto:
    """What tf2onnx makes of the signature `serving_default`; its in- and outputs keep their names."""
    loaded = tf.saved_model.load(folder)
    signature = loaded.signatures["serving_default"]
    inputs = list(signature.structured_input_signature[1].values())
    serve = tf.function(lambda image: signature(image=image), input_signature=inputs)
    model, _ = tf2onnx.convert.from_function(serve, inputs, opset=opset)
    return model


def untranslated(model: onnx.ModelProto) -> list[str]:
    """TensorFlow operations that tf2onnx left in the graph: it logs them and goes on."""
    return sorted({node.op_type for node in model.graph.node if not onnx.defs.has(node.op_type, node.domain)})


def tidy(graph: onnx.GraphProto) -> None:
    """Drops constants that nothing reads, and names an unknown first axis `batch`."""
    read = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
    # The shapes in between follow from those of the input; tf2onnx gives each unknown axis a name of its own.
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        first = value.type.tensor_type.shape.dim[0]
        if not first.dim_value:
            first.dim_param = "batch"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("saved_model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--opset", type=int, default=18)
    parser.add_argument("--metadata", type=Path, required=True)
    arguments = parser.parse_args()

    model = convert(arguments.saved_model, arguments.opset)
    if left := untranslated(model):
        sys.exit(f"ONNX has no translation of {', '.join(left)}")
    rewrite(model)
    tidy(model.graph)
    about = json.loads(arguments.metadata.read_text(encoding="utf-8"))
    onnx.helper.set_model_props(model, about)
    model.graph.name = about["name"]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, arguments.out)
    onnxruntime.InferenceSession(arguments.out, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main()

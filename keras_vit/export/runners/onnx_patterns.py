"""Exact rewrites of an ONNX graph into the forms that onnxruntime recognises and runs as one operation.

They use standard operators only: other runtimes run the same graph as before. Needs onnx and numpy.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import numpy_helper


def rewrite(model: onnx.ModelProto) -> None:
    """Writes every GELU and every root mean square normalisation so that it is fused."""
    graph = _Graph(model)
    for node in model.graph.node:
        if node.op_type == "Erf":
            _divide_before_erf(graph, node)
        elif node.op_type == "Reciprocal":
            _divide_by_root_mean_square(graph, node)


class _Graph:
    """A model's nodes by what they make and read, and its constants."""

    def __init__(self, model: onnx.ModelProto):
        self.initializers = model.graph.initializer
        self.constants = {tensor.name: tensor for tensor in self.initializers}
        self.producers = {name: node for node in model.graph.node for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self.last_axis = {
            value.name: value.type.tensor_type.shape.dim[-1].dim_value
            for value in inferred.value_info
            if value.type.tensor_type.shape.dim
        }

    def made_by(self, name: str, *kinds: str) -> onnx.NodeProto | None:
        """The end of a chain of operations that makes a value, given from its last to its first; constants aside."""
        node = None
        for kind in kinds:
            node = self.producers.get(name)
            if node is None or node.op_type != kind:
                return None
            name = next((given for given in node.input if given not in self.constants), "")
        return node

    def constant(self, name: str, value) -> str:
        """The name of a constant of the graph, added when it is not there yet."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(value, "float32"), name)
            self.initializers.append(self.constants[name])
        return name


def _divide_before_erf(graph: _Graph, erf: onnx.NodeProto) -> None:
    """`erf(x * 0.7071)`, the middle of a GELU, becomes `erf(x / 1.4142)`."""
    product = graph.made_by(erf.input[0], "Mul")
    if product is None:
        return
    factors = [name for name in product.input if name in graph.constants]
    if len(factors) == 1 and np.allclose(numpy_helper.to_array(graph.constants[factors[0]]), math.sqrt(0.5)):
        (x,) = (name for name in product.input if name not in factors)
        product.op_type = "Div"
        product.input[:] = [x, graph.constant("sqrt_2", math.sqrt(2))]


def _divide_by_root_mean_square(graph: _Graph, reciprocal: onnx.NodeProto) -> None:
    """`x * (1 / sqrt(mean(x * x) + e))` becomes `x / sqrt(mean(x ** 2) + e) * 1`: the fusion wants a scale."""
    square = graph.made_by(reciprocal.input[0], "Sqrt", "Add", "ReduceMean", "Mul")
    readers = graph.readers.get(reciprocal.output[0], [])
    if square is None or square.input[0] != square.input[1] or len(readers) != 1:
        return
    x, (product,) = square.input[0], readers
    width = graph.last_axis.get(x)
    if product.op_type != "Mul" or x not in product.input or not width:
        return
    square.op_type = "Pow"
    square.input[1] = graph.constant("two", 2)
    reciprocal.op_type = "Div"
    reciprocal.input[:] = [x, reciprocal.input[0]]
    product.input[:] = [reciprocal.output[0], graph.constant(f"ones_{width}", np.ones(width))]

"""A TFLite file as a list of operators: what each computes, in which types, and how much work it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from keras_vit.export.tflite_file import opened

FLOATS = {"FLOAT32", "FLOAT16", "BFLOAT16", "FLOAT64"}
INTEGERS = {"INT8", "UINT8", "INT4", "INT2", "INT16"}
CONVERSIONS = {"QUANTIZE", "DEQUANTIZE", "CAST"}


@dataclass(frozen=True)
class Tensor:
    """A tensor of a TFLite file.

    Attributes:
        name: as the file has it.
        shape: with -1 where the file leaves it open.
        type: name in the format's table, such as `"FLOAT32"`.
        constant: its values are in the file; all others are activations.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    constant: bool


@dataclass(frozen=True)
class Operator:
    """An operator of a TFLite file.

    Attributes:
        name: of the built-in or custom operator.
        custom: not built in.
        inputs, outputs: its tensors; inputs that are left out are not counted.
        transposed: a BATCH_MATMUL that takes its first input transposed.
    """

    name: str
    custom: bool
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    transposed: bool = False

    @property
    def kind(self) -> str:
        """What it computes in, by the types of its activations and weights.

        - `float`: floats only;
        - `hybrid`: float activations and integer weights: the kernel quantises the activations while it runs, or
          unpacks the weights;
        - `int8`: integers of 8 bits or less, and `int16`: 16-bit ones among them;
        - `conversion`: from one type to another;
        - `other`: shapes, indices and conditions.
        """
        activations = {tensor.type for tensor in (*self.inputs, *self.outputs) if not tensor.constant}
        weights = {tensor.type for tensor in self.inputs if tensor.constant}
        if self.name in CONVERSIONS or (activations & FLOATS and activations & INTEGERS):
            return "conversion"
        if activations & FLOATS:
            return "hybrid" if weights & INTEGERS else "float"
        if activations & INTEGERS:
            return "int16" if "INT16" in activations else "int8"
        return "other"

    @property
    def macs(self) -> int:
        """Multiplications of the matrix products and convolutions; 0 for all else."""
        outputs = math.prod(self.outputs[0].shape) if self.outputs else 0
        shapes = [tensor.shape for tensor in self.inputs]
        match self.name:
            case "FULLY_CONNECTED":
                return outputs * shapes[1][-1]
            case "CONV_2D":
                return outputs * math.prod(shapes[1][1:])
            case "DEPTHWISE_CONV_2D":
                return outputs * math.prod(shapes[1][1:3])
            case "TRANSPOSE_CONV":
                return math.prod(shapes[2][:-1]) * math.prod(shapes[1])
            case "BATCH_MATMUL":
                return outputs * shapes[0][-2 if self.transposed else -1]
        return 0


class TFLiteGraph:
    """The operators and tensors of a TFLite file, without its weights.

    Args:
        path: of the file.

    Raises:
        InputError: the file cannot be read or is no TFLite file.
    """

    def __init__(self, path: Path):
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        with opened(path) as content:
            model = schema.Model.GetRootAs(content, 0)
            for number in range(model.SubgraphsLength()):
                self._read(model, model.Subgraphs(number))

    @cached_property
    def _names(self) -> tuple[dict[int, str], dict[int, str]]:
        """Names of operators and of types, by their codes."""
        operators, types = vars(self._schema.BuiltinOperator), vars(self._schema.TensorType)
        return tuple({v: k for k, v in table.items() if isinstance(v, int)} for table in (operators, types))

    def _read(self, model, subgraph) -> None:
        tensors = [self._tensor(model, subgraph.Tensors(i)) for i in range(subgraph.TensorsLength())]
        self.tensors += tensors
        for number in range(subgraph.OperatorsLength()):
            entry = subgraph.Operators(number)
            code = model.OperatorCodes(entry.OpcodeIndex())
            # Files from before the table had 127 operators have only the older field.
            builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            custom = builtin == self._schema.BuiltinOperator.CUSTOM
            self.operators.append(
                Operator(
                    name=code.CustomCode().decode() if custom else self._names[0].get(builtin, str(builtin)),
                    custom=custom,
                    inputs=tuple(tensors[entry.Inputs(i)] for i in range(entry.InputsLength()) if entry.Inputs(i) >= 0),
                    outputs=tuple(tensors[entry.Outputs(i)] for i in range(entry.OutputsLength())),
                    transposed=builtin == self._schema.BuiltinOperator.BATCH_MATMUL and self._transposed(entry),
                )
            )

    def _tensor(self, model, entry) -> Tensor:
        buffer = model.Buffers(entry.Buffer())
        signature = [entry.ShapeSignature(i) for i in range(entry.ShapeSignatureLength())]
        return Tensor(
            name=(entry.Name() or b"").decode(errors="replace"),
            shape=tuple(signature or [entry.Shape(i) for i in range(entry.ShapeLength())]),
            type=self._names[1].get(entry.Type(), str(entry.Type())),
            # Files above 2 GB keep the values behind the model, at an offset.
            constant=buffer.DataLength() > 0 or buffer.Offset() > 1,
        )

    def _transposed(self, entry) -> bool:
        table = entry.BuiltinOptions()
        if table is None:
            return False
        options = self._schema.BatchMatMulOptions()
        options.Init(table.Bytes, table.Pos)
        return options.AdjX()

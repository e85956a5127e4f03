"""A TFLite file in memory, to be changed: tensors, buffers and operators by number."""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_vit.errors import InputError
from keras_vit.export.quantize.scales import Scale, pack_int4
from keras_vit.files import write_bytes

IDENTIFIER = b"TFL3"
ALIGNMENT = 16
"""Of weights, in bytes: kernels read them in place."""

TYPES = schema.TensorType
OPERATORS = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
_STORED = {
    "float32": TYPES.FLOAT32,
    "int8": TYPES.INT8,
    "int16": TYPES.INT16,
    "int32": TYPES.INT32,
    "int64": TYPES.INT64,
}
_BITS = {8: TYPES.INT8, 16: TYPES.INT16}
_OPTIONS = {
    "QUANTIZE": (schema.BuiltinOptions.QuantizeOptions, schema.QuantizeOptionsT),
    "DEQUANTIZE": (schema.BuiltinOptions.DequantizeOptions, schema.DequantizeOptionsT),
}


class ModelFile:
    """The only subgraph of a TFLite model.

    Attributes:
        model: all of it, as the schema's objects.
        graph: the subgraph.
        tensors: its tensors.
    """

    def __init__(self, model: schema.ModelT):
        self.model = model
        self.graph = model.subgraphs[0]
        self.tensors = self.graph.tensors

    @classmethod
    def read(cls, path: Path) -> ModelFile:
        """Reads a file.

        Raises:
            InputError: it cannot be read, is damaged, or is no single float32 graph of static batch 1.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}): give a float32 .tflite file.") from error
        if content[4:8] != IDENTIFIER:
            raise InputError(f"{path} is not a TFLite file: give a float32 .tflite file.")
        file = cls(schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0)))
        inputs = [file.tensors[i] for i in file.graph.inputs]
        if len(file.model.subgraphs) != 1 or len(inputs) != 1 or inputs[0].shape[0] != 1:
            raise InputError(f"{path} is not one graph that takes one image: export it with a fixed batch of 1.")
        if any(tensor.quantization is not None and tensor.quantization.scale is not None for tensor in file.tensors):
            raise InputError(f"{path} is quantised already: give the float32 file.")
        if any(tensor.type == TYPES.FLOAT16 for tensor in file.tensors):
            raise InputError(f"{path} stores float16 weights: give the float32 file.")
        return file

    def write(self, path: Path) -> None:
        """Writes the file, whole or not at all; equal arrays are stored once."""
        size = sum(len(buffer.data) for buffer in self.model.buffers if buffer.data is not None)
        builder = _Sharing(size + (1 << 20))
        builder.Finish(self.model.Pack(builder), IDENTIFIER)
        write_bytes(path, bytes(builder.Output()))

    def kind(self, operator: schema.OperatorT) -> str:
        """Name of an operator, such as `"FULLY_CONNECTED"`."""
        return OPERATORS[self.model.operatorCodes[operator.opcodeIndex].builtinCode]

    def name(self, tensor: int) -> str:
        """Name of a tensor; an output's is that of the signature, because converters rename it."""
        if self.model.signatureDefs and tensor in self.graph.outputs:
            return self.model.signatureDefs[0].outputs[list(self.graph.outputs).index(tensor)].name.decode()
        return self.tensors[tensor].name.decode()

    def constant(self, tensor: int) -> np.ndarray | None:
        """Values of a float32 constant, or None for all else."""
        entry = self.tensors[tensor] if tensor >= 0 else None
        data = None if entry is None else self.model.buffers[entry.buffer].data
        if data is None or entry.type != TYPES.FLOAT32 or len(data) == 0:
            return None
        return data.view(np.float32).reshape(entry.shape)

    def integers(self, tensor: int) -> np.ndarray | None:
        """Values of an int32 constant, or None for all else."""
        entry = self.tensors[tensor]
        data = self.model.buffers[entry.buffer].data
        if data is None or entry.type != TYPES.INT32 or len(data) == 0:
            return None
        return data.view(np.int32).reshape(entry.shape)

    def is_activation(self, tensor: int) -> bool:
        """Whether it is a float32 tensor whose values are not in the file."""
        return tensor >= 0 and self.tensors[tensor].type == TYPES.FLOAT32 and self.constant(tensor) is None

    def set_scale(self, tensor: int, scale: Scale, stored: int | None = None) -> None:
        """Makes an activation an integer one, of another type than its bits say if `stored` is given."""
        entry = self.tensors[tensor]
        entry.type = _BITS[scale.bits] if stored is None else stored
        entry.quantization = _quantization([scale.scale], scale.zero_point)

    def add_activation(self, like: int, suffix: str, scale: Scale | None = None, stored: int | None = None) -> int:
        """A new tensor with the shape of another one; float32 without a scale."""
        number = self._add(self.tensors[like].shape, f"{self.name(like)}{suffix}", TYPES.FLOAT32)
        if scale is not None:
            self.set_scale(number, scale, stored)
        return number

    def add_constant(
        self, name: str, values: np.ndarray, scales: np.ndarray, zero_point: int = 0, bits: int = 8, axis: int = 0
    ) -> int:
        """A new constant; several scales are those of an axis, no scales are for floats, 4 bits are packed."""
        number = self._add(values.shape, name, TYPES.INT4 if bits == 4 else _STORED[values.dtype.name])
        buffer = schema.BufferT()
        buffer.data = (pack_int4(values) if bits == 4 else np.ascontiguousarray(values)).reshape(-1).view(np.uint8)
        self.model.buffers.append(buffer)
        self.tensors[number].buffer = len(self.model.buffers) - 1
        if len(scales):
            self.tensors[number].quantization = _quantization(scales, zero_point)
            self.tensors[number].quantization.quantizedDimension = axis
        return number

    def conversion(self, kind: str, source: int, target: int, version: int) -> schema.OperatorT:
        """A QUANTIZE or DEQUANTIZE from one tensor to another."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(getattr(schema.BuiltinOperator, kind))
        operator.inputs, operator.outputs = np.array([source], np.int32), np.array([target], np.int32)
        operator.builtinOptionsType, options = _OPTIONS[kind]
        operator.builtinOptions = options()
        self.require(operator, version)
        return operator

    def require(self, operator: schema.OperatorT, version: int) -> None:
        """Says that an operator's kernel must be of this version or later."""
        code = self.model.operatorCodes[operator.opcodeIndex]
        code.version = max(code.version, version)

    def compact(self) -> None:
        """Leaves out the tensors and buffers that nothing reads any longer."""
        graph = self.graph
        read = [operator.inputs for operator in graph.operators] + [operator.outputs for operator in graph.operators]
        places, graph.tensors = _renumbered(np.concatenate([*read, graph.inputs, graph.outputs]), graph.tensors)
        self.tensors = graph.tensors
        for operator in graph.operators:
            operator.inputs, operator.outputs = places[operator.inputs], places[operator.outputs]
        graph.inputs, graph.outputs = places[graph.inputs], places[graph.outputs]
        for signature in self.model.signatureDefs or ():
            for entry in (*signature.inputs, *signature.outputs):
                entry.tensorIndex = int(places[entry.tensorIndex])
        named = self.model.metadata or []
        # The first buffer is empty by convention and stands for none.
        kept = [0, *(tensor.buffer for tensor in self.tensors), *(entry.buffer for entry in named)]
        places, self.model.buffers = _renumbered(np.array(kept), self.model.buffers)
        for entry in (*self.tensors, *named):
            entry.buffer = int(places[entry.buffer])

    def _add(self, shape: np.ndarray, name: str, type: int) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), np.array(shape, np.int32), type, 0
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _code(self, builtin: int) -> int:
        for number, code in enumerate(self.model.operatorCodes):
            if code.builtinCode == builtin:
                return number
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1


def _renumbered(read: np.ndarray, entries: list) -> tuple[np.ndarray, list]:
    """New numbers of the entries that are read, by their old ones (-1 stays -1), and those entries."""
    kept = sorted(set(read.tolist()) - {-1})
    places = np.full(len(entries) + 1, -1, np.int32)
    places[kept] = np.arange(len(kept))
    return places, [entries[i] for i in kept]


def _quantization(scales: np.ndarray, zero_point: int) -> schema.QuantizationParametersT:
    made = schema.QuantizationParametersT()
    made.scale = np.array(scales, np.float32)
    made.zeroPoint = np.full(len(made.scale), zero_point, np.int64)
    return made


class _Sharing(flatbuffers.Builder):
    """Stores equal vectors once (zero points of all matrices, weights that several tensors have), weights aligned."""

    def __init__(self, size: int):
        super().__init__(size)
        self._stored: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        key = (x.dtype.str, x.tobytes())
        if key not in self._stored:
            self.StartVector(x.itemsize, x.size, ALIGNMENT if x.dtype == np.uint8 else x.itemsize)
            content = key[1]
            self.head = self.Head() - len(content)
            self.Bytes[self.Head() : self.Head() + len(content)] = content
            self.vectorNumElems = x.size
            self._stored[key] = self.EndVector()
        return self._stored[key]

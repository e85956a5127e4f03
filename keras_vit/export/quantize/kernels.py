"""THE table of operators: which integer kernels TFLite has, in which version, and what they demand of their tensors."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kernel:
    """What TFLite's kernels can do for one operator.

    Attributes:
        int8, int16: version of the operator from which on it takes such tensors; None where there is no such kernel.
        moves: it only moves values: its outputs have the scale and zero point of its input.
        shared: all its inputs must have the scale and zero point of its output.
        fixed: bits -> scale and zero point that the kernel demands of its output.
        sums: its 8-bit inputs must not have steps of less than `SMALLEST_SHARE` of its output's.
        hybrid: version from which on it takes float inputs and 8-bit weights with a scale for each output channel, and
            quantises the inputs while it runs; None where it does not.
        channels: axis of the weights that is the output channels; None where it has no weights.
    """

    int8: int | None
    int16: int | None
    moves: bool = False
    shared: bool = False
    fixed: dict[int, tuple[float, int]] | None = None
    sums: bool = False
    hybrid: int | None = None
    channels: int | None = None

    def version(self, bits: int) -> int | None:
        """Version for tensors of so many bits, or None."""
        return {8: self.int8, 16: self.int16}[bits]


SMALLEST_SHARE = 2.0**-9
"""XNNPACK does not start with sums whose inputs are finer than 2^-10 of the output; finer ones add nothing to it."""

_UNIT = {8: (1 / 256, -128), 16: (1 / 32768, 0)}
"""Results between 0 and 1."""

_SYMMETRIC_UNIT = {8: (1 / 128, 0), 16: (1 / 32768, 0)}
"""Results between -1 and 1."""

KERNELS = {
    "ADD": Kernel(2, 4, sums=True),
    "AVERAGE_POOL_2D": Kernel(2, 3, moves=True),
    "BATCH_MATMUL": Kernel(2, 3),
    "CONCATENATION": Kernel(2, 3, shared=True),
    "CONV_2D": Kernel(3, 4, hybrid=5, channels=0),
    "DEPTHWISE_CONV_2D": Kernel(3, 5, hybrid=6, channels=3),
    "FULLY_CONNECTED": Kernel(4, 7, hybrid=12, channels=0),
    "GELU": Kernel(1, 2),
    "LOGISTIC": Kernel(2, 3, fixed=_UNIT),
    "MAX_POOL_2D": Kernel(2, 3, moves=True),
    "MEAN": Kernel(2, 3),
    "MUL": Kernel(2, 4),
    "PAD": Kernel(2, 3, moves=True),
    "RELU": Kernel(2, 3),
    "RESHAPE": Kernel(1, 1, moves=True),
    "RESIZE_BILINEAR": Kernel(3, 4, moves=True),
    "RSQRT": Kernel(2, 3),
    "SLICE": Kernel(2, 4, moves=True),
    "SOFTMAX": Kernel(2, 3, fixed=_UNIT),
    "SPACE_TO_DEPTH": Kernel(2, None, moves=True),
    "SPLIT": Kernel(2, 4, moves=True),
    "STRIDED_SLICE": Kernel(2, 4, moves=True),
    "SUB": Kernel(2, 5, sums=True),
    "TANH": Kernel(2, 3, fixed=_SYMMETRIC_UNIT),
    "TRANSPOSE": Kernel(2, 4, moves=True),
}
"""Name of an operator -> its row. Operators that are not here stay in float. Versions are those that TFLite's own
converter writes (tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc)."""

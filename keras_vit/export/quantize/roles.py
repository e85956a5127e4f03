"""What the tensors of a float file are used for, as far as their quantisation depends on it."""

from __future__ import annotations

from collections.abc import Collection

from keras_vit.export.quantize.file import ModelFile
from keras_vit.export.quantize.kernels import KERNELS

PRODUCTS = ("FULLY_CONNECTED", "BATCH_MATMUL")
"""Their second input is a matrix, whose zero point must be 0."""

UNIT_OUTPUTS = ("probabilities", "scores")
"""Outputs between 0 and 1, which 8 bits can hold; others are coordinates."""


def inputs_of(file: ModelFile, kinds: Collection[str]) -> dict[int, int]:
    """Inputs of the operators of some kinds, and the output that they go into."""
    found = [operator for operator in file.graph.operators if file.kind(operator) in kinds]
    return {int(i): int(operator.outputs[0]) for operator in found for i in operator.inputs}


def second_factors(file: ModelFile) -> set[int]:
    """Activations that become the matrix of a product, also those that only moves lie between."""
    found = set()
    for operator in reversed(file.graph.operators):
        kind = file.kind(operator)
        if kind in PRODUCTS and file.is_activation(operator.inputs[1]):
            found.add(int(operator.inputs[1]))
        elif kind in KERNELS and KERNELS[kind].moves and found & set(operator.outputs.tolist()):
            found |= {int(i) for i in operator.inputs if file.is_activation(i)}
    return found


def leading_to_coordinates(file: ModelFile) -> set[int]:
    """Outputs of the last products before coordinates, and of all operators between: they need more than 8 bits."""
    found = {int(output) for output in file.graph.outputs if file.name(output) not in UNIT_OUTPUTS}
    for operator in reversed(file.graph.operators):
        kernel = KERNELS.get(file.kind(operator))
        if found & set(operator.outputs.tolist()) and not (kernel and kernel.channels is not None):
            found |= {int(i) for i in operator.inputs if file.is_activation(i)}
    return found

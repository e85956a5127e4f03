"""What a head lays side by side and a file takes apart again is not laid side by side."""

from __future__ import annotations

import numpy as np

from keras_vit.export.quantize.file import ModelFile


def bypass_slices(file: ModelFile) -> None:
    """Reads the parts of a concatenation in place of the slices that cut them out of it.

    A detector's boxes and logits are one tensor of the model: in 8 bits they would share a scale that suits neither.
    Operators whose results nobody reads any longer are left out.

    Args:
        file: float32; it is changed. Tensors keep their numbers.
    """
    makers = {int(output): operator for operator in file.graph.operators for output in operator.outputs}
    parts = {}
    for operator in file.graph.operators:
        operator.inputs = np.array([parts.get(int(i), int(i)) for i in operator.inputs], np.int32)
        if file.kind(operator) == "STRIDED_SLICE":
            maker = makers.get(int(operator.inputs[0]))
            if maker is not None and file.kind(maker) == "CONCATENATION":
                part = _part(file, operator, maker)
                if part is not None:
                    parts[int(operator.outputs[0])] = part
    file.graph.outputs = np.array([parts.get(int(i), int(i)) for i in file.graph.outputs], np.int32)
    for signature in file.model.signatureDefs or ():
        for entry in signature.outputs:
            entry.tensorIndex = parts.get(entry.tensorIndex, entry.tensorIndex)
    _drop_unread(file)


def _part(file: ModelFile, cut, joined) -> int | None:
    """The input of a concatenation along the last axis that a slice cuts out of it, or None."""
    options = cut.builtinOptions
    begin, end, strides = (file.integers(i) for i in cut.inputs[1:4])
    if begin is None or end is None or strides is None or (strides != 1).any():
        return None
    whole, out = (file.tensors[int(i)].shape for i in (cut.inputs[0], cut.outputs[0]))
    last = len(whole) - 1
    if joined.builtinOptions.axis not in (last, -1) or len(out) != len(whole) or (out[:-1] != whole[:-1]).any():
        return None
    first = 0 if options.beginMask >> last & 1 else int(begin[last]) % int(whole[last])
    at = 0
    for part in joined.inputs:
        width = int(file.tensors[int(part)].shape[-1])
        if (at, width) == (first, int(out[-1])):
            return int(part)
        at += width
    return None


def _drop_unread(file: ModelFile) -> None:
    read = {int(i) for i in file.graph.outputs}
    kept = []
    for operator in reversed(file.graph.operators):
        if read & {int(i) for i in operator.outputs}:
            kept.append(operator)
            read |= {int(i) for i in operator.inputs}
    file.graph.operators = kept[::-1]

"""The pass over a float file that gives each operator its precision, and puts conversions where two precisions meet."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_vit.errors import InputError
from keras_vit.export.quantize.file import TYPES, ModelFile
from keras_vit.export.quantize.kernels import KERNELS, SMALLEST_SHARE, Kernel
from keras_vit.export.quantize.policy import Policy
from keras_vit.export.quantize.roles import UNIT_OUTPUTS, inputs_of, leading_to_coordinates, second_factors
from keras_vit.export.quantize.scales import Scale, as_rows, from_rows, quantize_weights, smallest_weight_scales
from keras_vit.export.quantize.statistics import Statistics

PIXELS = Scale(8, 1.0, -128)
"""Of int8 pixels; as uint8 they are 0..255 themselves."""

PROBABILITIES = Scale(8, 1 / 256, 0)
"""Of uint8 probabilities."""

_BITS = {"int8": 8, "int16": 16}


class Rewriter:
    """Quantises one file.

    Args:
        file: float32; it is changed.
        policy: decides.
        statistics: of the file; not needed by policies without fixed ranges.
    """

    def __init__(self, file: ModelFile, policy: Policy, statistics: Statistics | None):
        self.file = file
        self.policy = policy
        self.statistics = statistics
        self.scales: dict[int, Scale] = {}
        self._done: list[schema.OperatorT] = []
        self._converted: dict[tuple[int, Scale | None], int] = {}
        self._matrices = second_factors(file)
        self._fine = leading_to_coordinates(file)
        self._joined = inputs_of(file, [kind for kind, kernel in KERNELS.items() if kernel.shared])
        self._terms = inputs_of(file, [kind for kind, kernel in KERNELS.items() if kernel.sums])

    def run(self) -> None:
        """Rewrites all operators, then in- and output.

        Raises:
            InputError: a rule of the policy matches no operator.
        """
        self._check_rules()
        pixels = self._take_pixels() if self.policy.input == "uint8" else None
        for operator in self.file.graph.operators:
            operator.inputs = np.array([self._converted.get((i, PIXELS), i) if pixels else i for i in operator.inputs])
            self._rewrite(operator)
        self._give_output()
        self.file.graph.operators = self._done
        self.file.compact()

    def _check_rules(self) -> None:
        found = [(self.file.name(o.outputs[0]), self.file.kind(o)) for o in self.file.graph.operators]
        for rule in self.policy.rules:
            if not any(rule.matches(name, kind) for name, kind in found):
                kinds = f" of the kinds {', '.join(rule.kinds)}" if rule.kinds else ""
                raise InputError(
                    f"No operator{kinds} has a name with {rule.scope!r} in it: names are like "
                    f"{found[len(found) // 2][0]!r}."
                )

    def _take_pixels(self) -> int:
        image = int(self.file.graph.inputs[0])
        inside = self.file.add_activation(image, "_int8", PIXELS)
        self.file.set_scale(image, Scale(8, 1.0, 0), TYPES.UINT8)
        self._done.append(self.file.conversion("QUANTIZE", image, inside, 2))
        self.scales[inside] = PIXELS
        self._converted[image, PIXELS] = inside
        return inside

    def _give_output(self) -> None:
        file, given = self.file, {}
        for output in map(int, self.file.graph.outputs):
            if self.policy.output == "uint8" and file.name(output) in UNIT_OUTPUTS:
                inside = self._as(output, Scale.of_range(0, 255 / 256, 8))
                given[output] = file.add_activation(output, "_uint8", PROBABILITIES, TYPES.UINT8)
                self._done.append(file.conversion("QUANTIZE", inside, given[output], 2))
            else:
                given[output] = self._as(output, None)
        file.graph.outputs = np.array([given[int(output)] for output in file.graph.outputs], np.int32)
        for signature in file.model.signatureDefs or ():
            for entry in signature.outputs:
                entry.tensorIndex = given[entry.tensorIndex]

    def _rewrite(self, operator: schema.OperatorT) -> None:
        file, kind = self.file, self.file.kind(operator)
        kernel, name = KERNELS.get(kind), file.name(operator.outputs[0])
        precision = self.policy.precision(name, kind)
        if precision == "int8" and operator.outputs[0] in self._fine:
            precision = "int16"
        weights = kernel and kernel.channels is not None and file.constant(operator.inputs[1]) is not None
        bits = _BITS.get(precision) if kernel and file.is_activation(operator.outputs[0]) else None
        if kernel and kernel.moves:
            self._move(operator, kernel)
        elif bits and kernel.version(bits):
            self._integer(operator, kernel, bits, name)
        else:
            source = int(operator.inputs[0])
            operator.inputs = np.array([self._as(i, None) for i in operator.inputs], np.int32)
            if weights and precision in ("weights", "dynamic"):
                self._float_with_integer_weights(operator, kernel, source, unpack=precision == "weights")
            self._done.append(operator)

    def _move(self, operator: schema.OperatorT, kernel: Kernel) -> None:
        """Moves values in whatever precision they come."""
        source = next((i for i in operator.inputs.tolist() if i in self.scales), None)
        if source is not None and kernel.version(self.scales[source].bits):
            scale = self.scales[source]
            for output in operator.outputs.tolist():
                self._set(output, scale)
            self.file.require(operator, kernel.version(scale.bits))
        else:
            operator.inputs = np.array([self._as(i, None) for i in operator.inputs], np.int32)
        self._done.append(operator)

    def _integer(self, operator: schema.OperatorT, kernel: Kernel, bits: int, name: str) -> None:
        output = int(operator.outputs[0])
        scale = (
            Scale(bits, *kernel.fixed[bits]) if kernel.fixed else self._range(self._joined.get(output, output), bits)
        )
        if kernel.channels is not None:
            operator.inputs = self._integer_product(operator, kernel, bits, name)
        else:
            shared = scale if kernel.shared else None
            operator.inputs = np.array([self._operand(i, bits, shared) for i in operator.inputs], np.int32)
        options = operator.builtinOptions
        if bits == 16 and hasattr(options, "potScaleInt16"):
            # Otherwise the kernel takes only scales that are powers of two.
            options.potScaleInt16 = False
        self._set(output, scale)
        self.file.require(operator, kernel.version(bits))
        self._done.append(operator)

    def _integer_product(self, operator: schema.OperatorT, kernel: Kernel, bits: int, name: str) -> np.ndarray:
        source, matrix, *rest = operator.inputs.tolist()
        given = self._operand(source, bits)
        weights = self.file.constant(matrix)
        if weights is None:
            return np.array([given, self._operand(matrix, 8 if bits == 8 else bits), *rest], np.int32)
        stored = self.file.constant(rest[0]) if rest else None
        rows = as_rows(weights, kernel.channels)
        bias = np.zeros(len(rows)) if stored is None else stored.astype("float64")
        step = self.scales[given].scale
        smallest = smallest_weight_scales(bias, step)
        values, scales = quantize_weights(rows, 8, self.policy.weight_clipping, smallest)
        bias = self._corrected(bias, source, values * scales[:, None] - rows, kernel)
        kind = np.int32 if bits == 8 else np.int64
        rounded = np.round(bias / (step * scales)).clip(-(2**31) + 1, 2**31 - 1).astype(kind)
        return np.array(
            [
                given,
                self.file.add_constant(
                    self.file.name(matrix),
                    from_rows(values, weights.shape, kernel.channels),
                    scales,
                    axis=kernel.channels,
                ),
                self.file.add_constant(f"{name}_bias", rounded, step * scales),
            ],
            np.int32,
        )

    def _corrected(self, bias: np.ndarray, source: int, error: np.ndarray, kernel: Kernel) -> np.ndarray:
        """The bias (outputs,) without the mean of what an error of the weights (outputs, inputs) adds to the result."""
        if not self.policy.bias_correction or source not in self.statistics.means:
            return bias
        means = self.statistics.means[source]
        if kernel.channels:
            # Depthwise: the weights of an output all read one channel.
            return bias - error.sum(1) * np.repeat(means, len(error) // len(means))
        # The weights of a convolution read the same channels at each place of its window.
        return bias - error @ np.tile(means, error.shape[1] // len(means))

    def _float_with_integer_weights(
        self, operator: schema.OperatorT, kernel: Kernel, source: int, *, unpack: bool
    ) -> None:
        matrix = int(operator.inputs[1])
        weights = self.file.constant(matrix)
        # There are no kernels for 4-bit weights of more than two axes.
        bits = self.policy.weight_bits if weights.ndim == 2 else 8
        rows = as_rows(weights, kernel.channels)
        values, scales = quantize_weights(rows, bits, self.policy.weight_clipping)
        stored = self.file.add_constant(
            self.file.name(matrix),
            from_rows(values, weights.shape, kernel.channels),
            scales,
            bits=bits,
            axis=kernel.channels,
        )
        if unpack:
            target = self.file.add_activation(stored, "_unpacked")
            self._done.append(self.file.conversion("DEQUANTIZE", stored, target, 5 if bits == 8 else 6))
            stored = target
        else:
            if weights.ndim == 2:
                operator.builtinOptions.asymmetricQuantizeInputs = True
            self.file.require(operator, kernel.hybrid)
        rest = operator.inputs[2:].tolist()
        if self.policy.bias_correction and rest and rest[0] >= 0:
            bias = self._corrected(self.file.constant(rest[0]), source, values * scales[:, None] - rows, kernel)
            rest = [self.file.add_constant(self.file.name(rest[0]), bias.astype("float32"), [])]
        operator.inputs = np.array([operator.inputs[0], stored, *rest], np.int32)

    def _operand(self, tensor: int, bits: int, scale: Scale | None = None) -> int:
        """An input in so many bits, constants too; with the given scale, or else one of its own."""
        values = self.file.constant(tensor)
        if values is not None:
            scale = scale or Scale.of_range(float(values.min()), float(values.max()), bits)
            made = self.file.add_constant(
                f"{self.file.name(tensor)}_int{bits}", scale.quantize(values), [scale.scale], scale.zero_point
            )
            self.scales[made] = scale
            return made
        if not (self.file.is_activation(tensor) or tensor in self.scales):
            return tensor
        have = self.scales.get(tensor)
        if scale is None:
            scale = have if have is not None and have.bits == bits else self._range(tensor, bits)
        return self._as(tensor, scale)

    def _as(self, tensor: int, scale: Scale | None) -> int:
        """A tensor with another scale, or in float for None; other tensors than activations stay as they are."""
        have = self.scales.get(tensor)
        if have == scale or (have is None and not self.file.is_activation(tensor)):
            return tensor
        if (tensor, scale) not in self._converted:
            kind, suffix = ("DEQUANTIZE", "_float") if scale is None else ("QUANTIZE", f"_int{scale.bits}")
            made = self.file.add_activation(tensor, suffix, scale)
            self._done.append(self.file.conversion(kind, tensor, made, 3 if have and have.bits == 16 else 2))
            self._converted[tensor, scale] = made
            if scale is not None:
                self.scales[made] = scale
        return self._converted[tensor, scale]

    def _range(self, tensor: int, bits: int) -> Scale:
        low, high = self.statistics.range(tensor, "minmax" if bits == 16 else self.policy.clipping)
        scale = Scale.of_range(low, high, bits, symmetric=tensor in self._matrices)
        if bits == 8 and tensor in self._terms:
            smallest = SMALLEST_SHARE * self._range(self._terms[tensor], bits).scale
            return scale if scale.scale >= smallest else Scale(8, smallest)
        return scale

    def _set(self, tensor: int, scale: Scale) -> None:
        self.scales[tensor] = scale
        self.file.set_scale(tensor, scale)

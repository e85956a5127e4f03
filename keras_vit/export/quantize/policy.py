"""What is quantised and how: rules over the operators of a file, the last that matches decides."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from keras_vit.errors import InputError, suggest

PRECISIONS = ("float", "weights", "dynamic", "int8", "int16")
"""How an operator computes.

- `float`: as in the source;
- `weights`: in float, its weights stored as integers and unpacked when the file is loaded;
- `dynamic`: float in and out, integer weights; the kernel quantises each row of its input while it runs;
- `int8`: 8-bit activations with ranges fixed by calibration, 8-bit weights, sums in 32 bits;
- `int16`: 16-bit activations, 8-bit weights.

`weights` and `dynamic` are for operators with constant matrices, and leave all others in float.
"""

CLIPPINGS = ("minmax", "average", "mse")
INPUTS = ("float32", "uint8")
WEIGHT_CLIPPINGS = ("minmax", "mse")


@dataclass(frozen=True)
class Rule:
    """One decision about the operators of some scopes and kinds.

    Attributes:
        precision: one of `PRECISIONS`. An operator without an integer kernel stays in float.
        scope: regular expression, searched for in the name of the operator's output, such as `block_3/attention/qkv`.
        kinds: names of TFLite operators, such as `("SOFTMAX", "GELU")`; empty for all.
    """

    precision: str
    scope: str = ""
    kinds: tuple[str, ...] = ()

    def __post_init__(self):
        _check("precision", self.precision, PRECISIONS)
        try:
            re.compile(self.scope)
        except re.error as error:
            raise InputError(
                f"The scope {self.scope!r} is not a regular expression ({error}): escape its special characters."
            ) from error

    def matches(self, name: str, kind: str) -> bool:
        """Whether it decides about the operator of this kind that writes the tensor of this name."""
        return (not self.kinds or kind in self.kinds) and re.search(self.scope, name) is not None


@dataclass(frozen=True)
class Policy:
    """All decisions about a file.

    Attributes:
        rules: later ones override earlier ones; what none matches stays in float.
        clipping: how the range of an 8-bit activation follows from its statistics: `"minmax"` takes all that was seen,
            `"average"` the mean over images of their extremes, `"mse"` the range with the least squared error, and a
            number P the middle P percent of the values (99.99, say). 16-bit ranges always hold all that was seen.
        weight_bits: 8 or 4; 4-bit weights are for `weights` and `dynamic`.
        weight_clipping: `"minmax"`, or `"mse"` for the scale of each output channel with the least squared error.
        bias_correction: take the mean error that rounding the weights makes on the calibration images out of the bias
            (Nagel et al., 2019).
        input: `"float32"`, or `"uint8"` pixels as cameras and decoders give them.
        output: `"float32"`, or `"uint8"` in steps of 1/256.
    """

    rules: tuple[Rule, ...]
    clipping: str | float = "minmax"
    weight_bits: int = 8
    weight_clipping: str = "minmax"
    bias_correction: bool = False
    input: str = "float32"
    output: str = "float32"

    def __post_init__(self):
        if not self.rules:
            raise InputError("A policy without rules quantises nothing: give at least one rule.")
        if isinstance(self.clipping, str):
            _check("clipping", self.clipping, CLIPPINGS)
        elif not 50 < self.clipping <= 100:
            raise InputError(f"clipping keeps a percentage of the values, above 50 and up to 100, not {self.clipping}.")
        if self.weight_bits not in (4, 8):
            raise InputError(f"Weights have 8 or 4 bits, not {self.weight_bits}.")
        if self.weight_bits == 4 and self._fixes_ranges:
            raise InputError("4-bit weights are for the precisions 'weights' and 'dynamic': give others 8 bits.")
        _check("weight_clipping", self.weight_clipping, WEIGHT_CLIPPINGS)
        _check("input", self.input, INPUTS)
        _check("output", self.output, INPUTS)

    def precision(self, name: str, kind: str) -> str:
        """Of the operator of this kind that writes the tensor of this name."""
        return next((rule.precision for rule in reversed(self.rules) if rule.matches(name, kind)), "float")

    @property
    def needs_statistics(self) -> bool:
        """Whether it needs to know what calibration images do to activations."""
        return self._fixes_ranges or self.bias_correction

    @property
    def _fixes_ranges(self) -> bool:
        return any(rule.precision in ("int8", "int16") for rule in self.rules)

    def with_rules(self, *rules: Rule) -> Policy:
        """The same policy with further rules after its own."""
        return replace(self, rules=(*self.rules, *rules))


def _check(what: str, given: str, accepted: tuple[str, ...]) -> None:
    if given not in accepted:
        raise InputError(f"There is no {what} {given!r}: {suggest(str(given), accepted)}")


WEIGHT_ONLY = Policy((Rule("weights"),))
"""Small on disk and as accurate as int8 weights are; computes in float."""

DYNAMIC = Policy((Rule("dynamic"),))
"""Needs no calibration images, though `bias_correction` makes use of them: fast on phones and PCs, and in float but for
the products with weights."""

_CALIBRATED = {"clipping": 99.999, "bias_correction": True}
"""What held the accuracy of DeiT-Ti best; `"average"` and narrower percentiles lose most of it."""

INTEGER = Policy(
    (Rule("int8"), Rule("int16", r"^(probabilities|scores)$|/inner_\d+/norm/")), input="uint8", **_CALIBRATED
)
"""Integers from the pixels to the probabilities; in 16 bits the last softmax, so that close classes stay apart, and the
normalisations inside decoders, which lose most of a detector's accuracy otherwise."""

INTEGER_UINT8 = Policy((Rule("int8"),), input="uint8", output="uint8", **_CALIBRATED)
"""8-bit integers only, in and out, for microcontrollers and NPUs."""

INT16 = Policy((Rule("int16"),), input="uint8", bias_correction=True)
"""16-bit activations and 8-bit weights everywhere: nearly exact, for hardware with such kernels; slow on CPUs."""

MIXED = INTEGER.with_rules(
    Rule("int16", r"(^|/)(tokens|patch_norm|norm\d?|add\d)/"),
    Rule("int16", r"^head/(?!tail)"),
)
"""8 bits in the matrix products, the softmax and the GELU; 16 in the residual stream, in all normalisations and in what
follows the encoder of a classifier."""

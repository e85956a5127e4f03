"""Numbers to integers: scales and zero points of activations, weights and biases.

A real number is `scale * (q - zero_point)`, see TFLite's quantisation specification.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TINY = 1e-9
INT16_HEADROOM = 1.25
"""16-bit ranges are so much wider than what was seen: there are steps enough, and other images may go further."""

WEIGHT_SHRINKAGES = np.linspace(1, 0.6, 21)
LARGEST_BIAS = 2.0**30


@dataclass(frozen=True)
class Scale:
    """How a tensor of so many bits is to be read.

    Attributes:
        bits: 8 or 16.
        scale: size of one step.
        zero_point: the integer that stands for 0.
    """

    bits: int
    scale: float
    zero_point: int = 0

    @classmethod
    def of_range(cls, low: float, high: float, bits: int, *, symmetric: bool = False) -> Scale:
        """For values between `low` and `high`, and 0, which always has an integer of its own.

        16-bit scales, and those of matrices, are symmetric: kernels take no zero point there.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        if bits == 16:
            return cls(16, INT16_HEADROOM * max(-low, high, TINY) / 32767)
        if symmetric:
            return cls(8, max(-low, high, TINY) / 127)
        scale = max(high - low, TINY) / 255
        return cls(8, scale, int(np.clip(round(-128 - low / scale), -128, 127)))

    @property
    def dtype(self) -> type:
        """Of its integers."""
        return np.int8 if self.bits == 8 else np.int16

    def quantize(self, values: np.ndarray) -> np.ndarray:
        """The nearest integers."""
        limits = np.iinfo(self.dtype)
        return np.clip(np.round(values / self.scale) + self.zero_point, limits.min, limits.max).astype(self.dtype)


def quantize_weights(
    weights: np.ndarray, bits: int, clipping: str, smallest: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """A matrix as integers with one scale for each output channel.

    Args:
        weights: (outputs, inputs).
        bits: 8 or 4.
        clipping: `"minmax"`, or `"mse"`: of 21 scales between 1 and 0.6 times that one, the one with the least
            squared error.
        smallest: (outputs,), no scale is below.

    Returns:
        (outputs, inputs) int8, symmetric, and (outputs,) float64 scales.
    """
    most = 2 ** (bits - 1) - 1
    weights = weights.astype("float64")

    def rounded(scales):
        return np.clip(np.round(weights / scales[:, None]), -most, most)

    widest = np.maximum(np.maximum(np.abs(weights).max(1) / most, TINY), smallest)
    best, error = widest, np.full(len(weights), np.inf)
    for share in WEIGHT_SHRINKAGES if clipping == "mse" else (1.0,):
        scales = np.maximum(widest * share, smallest)
        found = ((rounded(scales) * scales[:, None] - weights) ** 2).sum(1)
        best, error = np.where(found < error, scales, best), np.minimum(found, error)
    return rounded(best).astype(np.int8), best


def as_rows(weights: np.ndarray, axis: int) -> np.ndarray:
    """Weights of any shape, `axis` that of the output channels, as (outputs, inputs)."""
    return np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)


def from_rows(rows: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """What `as_rows` made of weights of this shape, as it was."""
    moved = [shape[axis], *(side for place, side in enumerate(shape) if place != axis % len(shape))]
    return np.ascontiguousarray(np.moveaxis(rows.reshape(moved), 0, axis))


def smallest_weight_scales(bias: np.ndarray, input_scale: float) -> np.ndarray:
    """The weight scales (outputs,) below which the bias, in steps of input times weight scale, would not fit."""
    return np.abs(bias) / (input_scale * LARGEST_BIAS)


def pack_int4(values: np.ndarray) -> np.ndarray:
    """4-bit integers two a byte, the first in the low half."""
    flat = values.reshape(-1).astype(np.uint8) & 15
    flat = np.append(flat, np.zeros(len(flat) % 2, np.uint8))
    return flat[0::2] | flat[1::2] << 4


def least_error_range(counts: np.ndarray, limit: float, low: float, high: float) -> tuple[float, float]:
    """The range within [low, high] whose 8-bit rounding and clipping make the least squared error.

    Args:
        counts: (bins,) histogram over [-limit, limit].
        limit: its end.
        low, high: the smallest and largest value.
    """
    bins = len(counts)
    centres = (np.arange(bins) + 0.5) * (2 * limit / bins) - limit
    centres, counts = centres[counts > 0], counts[counts > 0]
    best, least = (low, high), np.inf
    for share in np.linspace(1, 0.3, 36):
        scale = Scale.of_range(low * share, high * share, 8)
        rounded = (scale.quantize(centres).astype("float64") - scale.zero_point) * scale.scale
        error = float((counts * (rounded - centres) ** 2).sum())
        if error < least:
            best, least = (low * share, high * share), error
    return best

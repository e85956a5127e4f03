"""Rotary positions: queries and keys are turned by angles that say where their patch is (Su et al., 2021)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from keras import ops

EVA_GRID = 16
"""EVA-02 maps any patch grid onto the 16 x 16 grid it was pretrained with."""


def _eva02_angles(grid: tuple[int, int], bands: int) -> np.ndarray:
    frequencies = 10_000.0 ** (-np.arange(bands) / bands)
    axes = [np.arange(side) / side * EVA_GRID for side in grid]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)[..., None] * frequencies


def _dinov3_angles(grid: tuple[int, int], bands: int) -> np.ndarray:
    frequencies = 2 * np.pi * 100.0 ** (-np.arange(bands) / bands)
    axes = [2 * (np.arange(side) + 0.5) / side - 1 for side in grid]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)[..., None] * frequencies


ROTARY: dict[str, Callable[[tuple[int, int], int], np.ndarray]] = {"eva02": _eva02_angles, "dinov3": _dinov3_angles}
"""Kind -> angles (h, w, 2 axes, bands) of a grid. `eva02`: Fang et al., 2024. `dinov3`: Siméoni et al., 2025, whose
coordinates are the patches' centres between -1 and 1 on each axis."""


def rotary_tables(kind: str, grid: tuple[int, int], prefix: int, head_dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines for `rotate`.

    Channel `j` is paired with channel `j + head_dim / 2`; the first quarter of the channels turns with the row, the
    second with the column. Prefix tokens are turned by nothing.

    Args:
        kind: a key of `ROTARY`.
        grid: (h, w) of the patches.
        prefix: number of tokens before the patches.
        head_dim: channels of a head, a multiple of 4.

    Returns:
        Two arrays (1, prefix + h * w, 1, head_dim), float32.

    Raises:
        ValueError: an unknown kind, or a head that cannot be cut in four.
    """
    if kind not in ROTARY or head_dim % 4:
        raise ValueError(
            f"Rotary positions are of the kind {' or '.join(ROTARY)} with heads of a multiple of 4 channels, not "
            f"{kind!r} with {head_dim}."
        )
    angles = ROTARY[kind](grid, head_dim // 4).reshape(-1, head_dim // 2)
    angles = np.concatenate([np.zeros((prefix, head_dim // 2)), angles])
    angles = np.tile(angles, 2)[None, :, None].astype("float32")
    return np.cos(angles), np.sin(angles)


def rotate(heads, cosines, sines):
    """Turns each pair of channels by its token's angle.

    Args:
        heads: (B, N, heads, head_dim) queries or keys.
        cosines: (1, N, 1, head_dim), as `rotary_tables` makes them.
        sines: likewise.

    Returns:
        (B, N, heads, head_dim).
    """
    first, second = ops.split(heads, 2, axis=-1)
    turned = ops.concatenate([-second, first], axis=-1)
    return heads * ops.cast(cosines, heads.dtype) + turned * ops.cast(sines, heads.dtype)

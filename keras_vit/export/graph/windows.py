"""Attention within windows, in any writing of attention, and without filling.

The layer fills windows up where they stand out and masks what it filled. A mask would take the 8 bits of all scores for
itself; here those windows are smaller instead: the grid is taken apart into at most four regions, windows of one size
in each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_vit.export.graph.network import Attention
from keras_vit.export.graph.tokens import Tokens
from keras_vit.export.graph.writer import Writer
from keras_vit.layers.windows import Windows


@dataclass(frozen=True)
class Region:
    """Part of the patch grid that its windows divide.

    Attributes:
        top: its first row.
        left: its first column.
        windows: over its patches.
    """

    top: int
    left: int
    windows: Windows

    @property
    def count(self) -> int:
        """Its windows."""
        return math.prod(self.windows.counts)

    def of(self, maps: tf.Tensor) -> tf.Tensor:
        """(B, h, w, D) of the grid -> (B * windows, rows * columns, D) of the region."""
        height, width = self.windows.grid
        if maps.shape[1:3] != self.windows.grid:
            maps = maps[:, self.top : self.top + height, self.left : self.left + width]
        return self.windows.cut(maps)

    def joined(self, mixed: tf.Tensor) -> tf.Tensor:
        """(B * windows * rows * columns, D) -> (B, h, w, D) of the region."""
        per_window = tf.reshape(mixed, (-1, math.prod(self.windows.window), mixed.shape[-1]))
        return tf.reshape(self.windows.join(per_window), (-1, *self.windows.grid, mixed.shape[-1]))

    def patches(self, width: int) -> np.ndarray:
        """Indices of its first window's patches in a grid of so many columns."""
        rows, columns = self.windows.window
        return ((self.top + np.arange(rows))[:, None] * width + self.left + np.arange(columns)).reshape(-1)


def regions(windows: Windows) -> list[list[Region]]:
    """The regions of a grid, in rows."""
    (tops, lefts) = (_spans(side, step) for side, step in zip(windows.grid, windows.window, strict=True))
    return [
        [Region(top, left, Windows((height, width), (rows, columns))) for left, width, columns in lefts]
        for top, height, rows in tops
    ]


def _spans(side: int, step: int) -> list[tuple[int, int, int]]:
    """Start, length and step of what whole steps cover, and of what they leave."""
    rest = side % step
    return [(0, side - rest, step)] + ([(side - rest, rest, rest)] if rest else [])


def attend_in_windows(
    writer: Writer, write: Callable, query, key, value, attention: Attention, tokens: Tokens
) -> tf.Tensor:
    """As `keras_vit.layers.attention.attend_in_windows`.

    Args:
        writer: keeps the tables.
        write: the writing of attention.
        query: (B * N, D), turned and scaled.
        key: likewise.
        value: (B * N, D).
        attention: heads, windows and biases.
        tokens: N an image.

    Returns:
        (B * N, D), the heads side by side.
    """
    windows, heads, images = attention.windows, attention.num_heads, tokens.images
    prefix = tokens.count - math.prod(windows.grid)
    unfolded = [tokens.unfolded(x) for x in (query, key, value)]
    width = value.shape[-1]
    maps = [tf.reshape(x[:, prefix:], (images, *windows.grid, width)) for x in unfolded]
    rows = []
    for row in regions(windows):
        cells = []
        for region in row:
            seen = region.patches(windows.grid[1]) + prefix
            bias = _bias(writer, attention, seen, np.concatenate([np.arange(prefix), seen]), f"bias_{seen[0]}")
            inside = [region.of(x) for x in maps]
            before = [x[:, :prefix] for x in unfolded[1:]]
            cells.append(region.joined(_windows(writer, write, inside, before, heads, bias, region.count)))
        rows.append(tf.concat(cells, axis=2) if len(cells) > 1 else cells[0])
    mixed = tf.concat(rows, axis=1) if len(rows) > 1 else rows[0]
    if not prefix:
        return tf.reshape(mixed, (-1, width))
    bias = _bias(writer, attention, np.arange(prefix), np.arange(tokens.count), "bias")
    first = write(tokens.first(prefix, query), key, value, heads, None, bias, (images, prefix, tokens.count))
    both = [tf.reshape(first, (images, prefix, width)), tf.reshape(mixed, (images, tokens.count - prefix, width))]
    return tf.reshape(tf.concat(both, axis=1), (-1, width))


def _bias(writer: Writer, attention: Attention, asking: np.ndarray, seen: np.ndarray, name: str):
    """(1, heads, asking, seen), None where there is none."""
    if attention.bias is None:
        return None
    return writer.variable(name, np.ascontiguousarray(attention.bias[:, :, asking][:, :, :, seen]))


def _windows(writer: Writer, write: Callable, inside, before, heads: int, bias, count: int) -> tf.Tensor:
    """What windows of one size see: (B * windows * n, D).

    Args:
        writer: says which writing it is.
        write: the writing.
        inside: queries, keys and values (B * windows, n, D).
        before: keys and values (B, prefix, D) that every window sees.
        heads: divides D.
        bias: (1, heads, n, prefix + n), or None.
        count: windows an image.
    """
    patches, width = inside[0].shape[1:]
    prefix = before[0].shape[1]
    if writer.integer:
        # Products of one window at a time, as of one image at a time.
        parts = zip(*(tf.split(x, count, axis=0) for x in inside), strict=True)
        mixed = []
        for query, *others in parts:
            if prefix:
                others = [tf.concat(pair, axis=1) for pair in zip(before, others, strict=True)]
            flat = [tf.reshape(x, (-1, width)) for x in (query, *others)]
            mixed.append(write(*flat, heads, None, bias, (1, patches, prefix + patches)))
        return tf.concat(mixed, axis=0) if len(mixed) > 1 else mixed[0]
    query, *others = inside
    if prefix:
        everywhere = [tf.reshape(tf.tile(x[:, None], (1, count, 1, 1)), (-1, prefix, width)) for x in before]
        others = [tf.concat(pair, axis=1) for pair in zip(everywhere, others, strict=True)]
    flat = [tf.reshape(x, (-1, width)) for x in (query, *others)]
    return write(*flat, heads, None, bias, (query.shape[0] or -1, patches, prefix + patches))

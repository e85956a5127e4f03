"""One line of a dialect: which arrays of a checkpoint are which of our variables, and how the layout changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

Arrays = Sequence[np.ndarray]


@dataclass(frozen=True)
class Layout:
    """A pair of functions: a checkpoint's array -> our variable, and back."""

    read: Callable[[np.ndarray], np.ndarray]
    write: Callable[[np.ndarray], np.ndarray]

    def then(self, other: Layout) -> Layout:
        """This change and then another one; written in the opposite order."""
        return Layout(lambda a: other.read(self.read(a)), lambda a: self.write(other.write(a)))


SAME = Layout(lambda a: a, lambda a: a)
LINEAR = Layout(lambda a: a.T, lambda a: a.T)
"""PyTorch keeps a linear layer as (out, in), Keras as (in, out)."""
CONV = Layout(lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1))
"""PyTorch keeps a convolution as (out, in, h, w), Keras as (h, w, in, out)."""
BATCHED = Layout(lambda a: np.squeeze(a, axis=0), lambda a: a[None])
"""A leading axis of one that Keras does without."""
FLAT = Layout(lambda a: a[None, None], lambda a: a[0, 0])
"""A token without the axes of images and tokens."""


@dataclass(frozen=True)
class Row:
    """Some arrays of a checkpoint and the variables of ours that hold the same numbers.

    Attributes:
        theirs: names in the checkpoint; none where an absent array means a known value.
        ours: paths of variables in a model of this package.
        read: their arrays -> ours. It is also called with arrays of the right shape and no content, to learn shapes.
        write: our arrays -> theirs.
    """

    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    read: Callable[[Arrays], Arrays]
    write: Callable[[Arrays], Arrays]

    def at(self, index: int) -> Row:
        """The row of one block, where `{i}` stands for its number."""
        theirs = tuple(name.replace("{i}", str(index)) for name in self.theirs)
        return replace(self, theirs=theirs, ours=tuple(path.replace("{i}", str(index)) for path in self.ours))


def row(theirs: str, ours: str, layout: Layout = SAME) -> Row:
    """One array that is one variable."""
    return Row((theirs,), (ours,), lambda a: [layout.read(a[0])], lambda a: [layout.write(a[0])])


def merged(theirs: Sequence[str], ours: str, each: Layout = SAME, whole: Layout = SAME) -> Row:
    """Several arrays of one shape that are one variable side by side along its last axis, as in a fused projection.

    Args:
        theirs: names.
        ours: path.
        each: layout of every array.
        whole: layout of what they are together.
    """

    def read(arrays: Arrays) -> Arrays:
        return [whole.read(np.concatenate([each.read(array) for array in arrays], axis=-1))]

    def write(arrays: Arrays) -> Arrays:
        return [each.write(part) for part in np.split(whole.write(arrays[0]), len(theirs), axis=-1)]

    return Row(tuple(theirs), (ours,), read, write)


def absent(ours: str, shape: tuple[int, ...]) -> Row:
    """A variable that is zero where the file has no array for it."""
    return Row((), (ours,), lambda a: [np.zeros(shape, "float32")], lambda a: [])


def beside(*layouts: Layout) -> Layout:
    """Layouts of equal parts of the last axis."""

    def change(array: np.ndarray, functions: Iterable[Callable]) -> np.ndarray:
        parts = np.split(array, len(layouts), axis=-1)
        return np.concatenate([function(part) for function, part in zip(functions, parts, strict=True)], axis=-1)

    return Layout(
        lambda a: change(a, [layout.read for layout in layouts]),
        lambda a: change(a, [layout.write for layout in layouts]),
    )


def paired_halves(num_heads: int) -> Layout:
    """Rotary positions that turn neighbouring channels of a head -> our channels half a head apart.

    The same permutation of queries and keys leaves attention as it is.
    """

    def read(array: np.ndarray) -> np.ndarray:
        heads = array.reshape(*array.shape[:-1], num_heads, -1, 2)
        return np.swapaxes(heads, -1, -2).reshape(array.shape)

    def write(array: np.ndarray) -> np.ndarray:
        heads = array.reshape(*array.shape[:-1], num_heads, 2, -1)
        return np.swapaxes(heads, -1, -2).reshape(array.shape)

    return Layout(read, write)


def linear(theirs: str, ours: str) -> tuple[Row, Row]:
    """PyTorch's `weight` and `bias` of a linear layer and our `kernel` and `bias`."""
    return row(f"{theirs}.weight", f"{ours}/kernel", LINEAR), row(f"{theirs}.bias", f"{ours}/bias")


def norm(theirs: str, ours: str) -> tuple[Row, Row]:
    """PyTorch's `weight` and `bias` of a layer normalisation and our `gamma` and `beta`."""
    return row(f"{theirs}.weight", f"{ours}/gamma"), row(f"{theirs}.bias", f"{ours}/beta")


def in_blocks(depth: int, rows: Iterable[Row]) -> list[Row]:
    """The rows of every block."""
    rows = list(rows)
    return [each.at(index) for index in range(depth) for each in rows]

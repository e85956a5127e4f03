"""What files say, checked before it is believed: nobody vouches for a file that was fetched from somewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from keras_vit.preprocessing import Preprocessing

UNUSABLE = (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError, RecursionError)
"""What Python raises for values of another kind, or nested deeper or larger than any that were written in earnest."""
LARGEST_SIDE = 8192
"""Pixels of an image; a network is built for what a file says."""
LONGEST_REASON = 200

Size = tuple[int, int]


def reason(error: Exception) -> str:
    """Why something could not be read: the first line of an error, without what a terminal would obey.

    The text may quote the file, where anything can stand.
    """
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    shown = "".join(character if character.isprintable() else "?" for character in line)
    return shown if len(shown) <= LONGEST_REASON else shown[:LONGEST_REASON] + "..."


def sides(value: int | Sequence[int] | Mapping[str, int]) -> Size:
    """(H, W) in pixels from a number, a pair, or a mapping with `height` and `width`.

    Raises:
        ValueError: no sides of an image; one of `UNUSABLE` where the kind is wrong already.
    """
    if isinstance(value, Mapping):
        value = value["height"], value["width"]
    height, width = (value, value) if isinstance(value, int) else value
    if not all(type(side) is int and 0 < side <= LARGEST_SIDE for side in (height, width)):
        raise ValueError(f"an image of {height!r} x {width!r} pixels")
    return height, width


def numbers(values: Sequence[float]) -> tuple[float, ...]:
    """Finite numbers.

    Raises:
        ValueError: infinite ones, or none.
    """
    found = tuple(float(value) for value in values)
    if not found or not all(map(math.isfinite, found)):
        raise ValueError(f"{found} where numbers are needed")
    return found


def record(said: Mapping) -> Preprocessing:
    """The preprocessing record that `Preprocessing.to_dict` wrote.

    Raises:
        One of `UNUSABLE`: it is none.
    """
    sizes = {"image_size": sides(said["image_size"]), "mean": numbers(said["mean"]), "std": numbers(said["std"])}
    return Preprocessing(**{**said, **sizes})

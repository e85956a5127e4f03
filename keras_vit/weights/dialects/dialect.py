"""What a dialect is: a table of rows, and the marks by which its files are known."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from keras_vit.errors import InputError
from keras_vit.weights.architecture import Architecture
from keras_vit.weights.dialects.rows import Row


@dataclass(frozen=True)
class Dialect:
    """How one library names the arrays of a ViT.

    Attributes:
        name: `timm`, `huggingface`, ...
        marks: ends of names by which a file of the dialect is known. What stands before such an end (`module.`,
            `vit.`, `vision_model.`) is taken off all names that begin with it.
        rows: the table, for an architecture. Where several rows give the same variable, the first whose arrays are
            all in the file is read, and the first that the model has all variables for is written.
        ignored: names that hold no weights of the network, as a regular expression for the whole name.
        configs: file name -> JSON that the library wants beside the weights, for an architecture; None where the
            dialect is only read.
    """

    name: str
    marks: tuple[str, ...]
    rows: Callable[[Architecture], list[Row]]
    ignored: re.Pattern = re.compile(r"(?!)")
    configs: Callable[[Architecture], dict[str, dict]] | None = None

    def canonical(self, names: Iterable[str]) -> dict[str, str] | None:
        """The dialect's name -> the name in the file; None where the file is not of this dialect.

        Raises:
            InputError: two names in the file mean the same array.
        """
        names = list(names)
        marked = [(name, mark) for name in names for mark in self.marks if name.endswith(mark)]
        if not marked:
            return None
        name, mark = min(marked, key=lambda pair: len(pair[0]))
        prefix = name.removesuffix(mark)
        found = unambiguous({name: name for name in names}, lambda name: name.removeprefix(prefix))
        return {name: original for name, original in found.items() if not self.ignored.fullmatch(name)}


def unambiguous(names: Mapping[str, str], change: Callable[[str], str]) -> dict[str, str]:
    """Changes the keys of a mapping to the names in a file.

    Raises:
        InputError: two become the same, so that one array would be left out in silence.
    """
    changed = {}
    for name, original in names.items():
        other = changed.setdefault(change(name), original)
        if other != original:
            raise InputError(
                f"The file has {other} and {original}, which mean the same: take one of the two networks out of it."
            )
    return changed

"""Fitting arrays to the model that was asked for: other image, patch or channel sizes, classes and prefix tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import keras
import numpy as np
from keras import ops

from keras_vit.errors import InputError
from keras_vit.heads import HEAD_LAYERS
from keras_vit.layers.position_embedding import resample_positions
from keras_vit.layers.relative_bias import PREFIX_ENTRIES, resample_bias
from keras_vit.weights.architecture import Architecture, variables_of

Fit = Callable[[np.ndarray], np.ndarray]
Grid = tuple[int, int]

CLASS_TOKEN = "class_token/tokens"
REGISTERS = "registers/tokens"
POSITIONS = "position_embedding/embedding"
PATCHES = "patch_embedding/projection/kernel"


def is_head(path: str) -> bool:
    """Whether a variable belongs to the head, and may stay as it was drawn."""
    return path.split("/")[0] in HEAD_LAYERS


class Fitting:
    """How each array becomes its variable, and what had to be adapted for it.

    Args:
        model: to be loaded.
        architecture: of the model.
        shapes: path of ours -> shape of what the file has for it, in our layout.
        grid: (h, w) of the patches that the file's positions are for; None where the file does not say.
    """

    def __init__(
        self,
        model: keras.Model,
        architecture: Architecture,
        shapes: Mapping[str, tuple[int, ...]],
        grid: Grid | None,
    ):
        self.architecture = architecture
        self.shapes = shapes
        self.grid = grid
        self.variables = variables_of(model)
        self.notes: list[str] = []
        self.wrong: list[str] = []

    def fits(self) -> dict[str, Fit]:
        """Path -> the function that fits the file's array to the variable. A variable that is not among the paths
        stays as it is. Fills `notes` and, with what cannot be fitted, `wrong`."""
        rules: dict[str, Callable[[str], Fit | None]] = {
            POSITIONS: self._positions,
            PATCHES: self._patches,
            REGISTERS: self._registers,
        }
        found = {}
        for path in self.shapes:
            if path not in self.variables:
                continue
            if len(self.shapes[path]) != len(self.variables[path].shape):
                self._refuse(path)
                continue
            if path.endswith("relative_bias/table"):
                fit = self._relative_bias(path)
            elif path in rules:
                fit = rules[path](path)
            else:
                fit = self._as_it_is(path)
            if fit is not None:
                found[path] = fit
        self._note_heads(found)
        for path, what in ((CLASS_TOKEN, "class token"), (REGISTERS, "registers")):
            if path in self.variables and path not in self.shapes:
                self._note(f"the {what} {'is' if path == CLASS_TOKEN else 'are'} fresh")
            elif path in self.shapes and path not in self.variables:
                self._note(f"the file's {what} {'is' if path == CLASS_TOKEN else 'are'} left out")
        return found

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)

    def _refuse(self, path: str) -> None:
        self.wrong.append(f"{path} {self.shapes[path]} where {tuple(self.variables[path].shape)} is needed")

    def _as_it_is(self, path: str) -> Fit | None:
        if self.shapes[path] == tuple(self.variables[path].shape):
            return lambda array: array
        if not is_head(path):
            self._refuse(path)
        return None

    def _note_heads(self, found: Mapping[str, Fit]) -> None:
        classifiers, poolings = (("head", "head_distilled"), ("pool", "pool_distilled"))
        if self._of(classifiers, self.variables.keys() - found.keys()):
            self._note(f"the classifier is fresh: the file has none for {self.architecture.num_classes} classes")
        elif left := self._of(classifiers, self.shapes.keys() - self.variables.keys()):
            second = "second " if "head/kernel" not in left else ""
            self._note(f"the file's {second}classifier is left out")
        if self._of(poolings, self.variables.keys() - found.keys()):
            self._note("the pooling is fresh: the file has none")
        elif self._of(poolings, self.shapes.keys() - self.variables.keys()):
            self._note("the file's pooling is left out")

    @staticmethod
    def _of(layers: tuple[str, ...], paths: Iterable[str]) -> list[str]:
        return [path for path in paths if path.split("/")[0] in layers]

    def _positions(self, path: str) -> Fit | None:
        rows, width = self.shapes[path]
        architecture, wanted = self.architecture, tuple(self.variables[path].shape)
        if width != wanted[1]:
            return self._refuse(path)
        covered = architecture.variant.family.positions == "tokens"
        own = (int(architecture.class_token), architecture.registers) if covered else (0, 0)
        theirs = (int(CLASS_TOKEN in self.shapes), self.shapes.get(REGISTERS, (1, 0))[1]) if covered else (0, 0)
        old, new = self._old_grid(rows - sum(theirs)), architecture.grid
        if old != new:
            self._note(f"positions resampled from a {_by(old)} to a {_by(new)} grid")

        def fit(table: np.ndarray) -> np.ndarray:
            classes, registers, patches = np.split(np.asarray(table, "float32"), np.cumsum(theirs))
            return np.concatenate(
                [_rows(classes, own[0]), _rows(registers, own[1]), resample_positions(patches, old, new, 0)]
            )

        return fit

    def _old_grid(self, patches: int) -> Grid:
        if self.grid is not None and math.prod(self.grid) == patches:
            return self.grid
        side = math.isqrt(max(patches, 0))
        if side and side * side == patches:
            return side, side
        if math.prod(self.architecture.grid) == patches:
            return self.architecture.grid
        raise InputError(f"The positions of the file are for {patches} patches, which is no square grid.")

    def _relative_bias(self, path: str) -> Fit | None:
        rows, heads = self.shapes[path]
        wanted, new = tuple(self.variables[path].shape), self.architecture.grid
        if heads != wanted[1]:
            return self._refuse(path)
        side = math.isqrt(max(rows - PREFIX_ENTRIES, 0))
        if self.grid is not None and rows == _table_rows(self.grid):
            old = self.grid
        elif side % 2 and side * side == rows - PREFIX_ENTRIES:
            old = ((side + 1) // 2,) * 2
        elif rows == wanted[0]:
            old = new
        else:
            raise InputError(f"The relative positions of the file have {rows} rows, which is for no square grid.")
        if old != new:
            self._note(f"relative positions resampled from a {_by(old)} to a {_by(new)} grid")
        return lambda table: resample_bias(table, old, new)

    def _patches(self, path: str) -> Fit | None:
        height, width, channels, units = self.shapes[path]
        new_height, new_width, new_channels, new_units = self.variables[path].shape
        if units != new_units or 0 in (height, width, channels):
            return self._refuse(path)
        if channels != new_channels:
            self._note(f"the patch embedding was spread from {channels} to {new_channels} channels")
        if (height, width) != (new_height, new_width):
            self._note(f"patches resized from {_by((height, width))} to {_by((new_height, new_width))} pixels")
        return lambda kernel: resample_patches(spread_channels(kernel, new_channels), (new_height, new_width))

    def _registers(self, path: str) -> Fit | None:
        (images, count, width), (_, wanted, new_width) = self.shapes[path], self.variables[path].shape
        if images != 1 or width != new_width:
            return self._refuse(path)
        if count == wanted:
            return lambda tokens: tokens
        self._note(f"{min(count, wanted)} of {wanted} registers are the file's {count}")
        drawn = ops.convert_to_numpy(self.variables[path])
        return lambda tokens: np.concatenate([tokens[:, :wanted], drawn[:, count:]], axis=1)


def resample_patches(kernel: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes the kernel of a patch embedding so that resized patches give the tokens that they gave before.

    The pseudo-inverse of the patches' own resizing (FlexiViT, Beyer et al., 2023, section 3.4).

    Args:
        kernel: (h, w, channels, D).
        size: (new h, new w) in pixels.

    Returns:
        (new h, new w, channels, D), float32.
    """
    if kernel.shape[:2] == tuple(size):
        return kernel
    rows, columns = (_undo_resize(old, new) for old, new in zip(kernel.shape[:2], size, strict=True))
    return np.einsum("yi,xj,ijcd->yxcd", rows, columns, np.asarray(kernel, "float64")).astype("float32")


def _undo_resize(old: int, new: int) -> np.ndarray:
    """(new, old) pseudo-inverse of resizing one axis.

    Each axis by itself has full rank. Both at once have not where one grows and the other shrinks, and the inverse of
    what rounding left of the missing rank would be anything.
    """
    pixels = np.eye(old, dtype="float32").reshape(old, old, 1, 1)
    resized = ops.image.resize(pixels, (new, 1), interpolation="bicubic", antialias=True, data_format="channels_last")
    # (old, new): a new axis is an old one times this matrix.
    return np.linalg.pinv(ops.convert_to_numpy(resized).reshape(old, new).astype("float64"))


def spread_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Changes the number of input channels so that equal channels give the tokens that they gave before.

    One channel gets the sum of all; more are repeated in turn and scaled down, as in timm's `adapt_input_conv`.

    Args:
        kernel: (h, w, channels, D).
        channels: the new number.

    Returns:
        (h, w, new channels, D).
    """
    old = kernel.shape[2]
    if channels == old:
        return kernel
    kernel = np.asarray(kernel, "float32")
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    return kernel[:, :, np.arange(channels) % old] * (old / channels)


def _rows(table: np.ndarray, count: int) -> np.ndarray:
    """The first rows of a table, with zeros where there are too few."""
    return np.concatenate([table[:count], np.zeros((max(count - len(table), 0), table.shape[1]), "float32")])


def _table_rows(grid: Grid) -> int:
    return math.prod(2 * side - 1 for side in grid) + PREFIX_ENTRIES


def _by(sides: tuple[int, int]) -> str:
    return f"{sides[0]} x {sides[1]}"

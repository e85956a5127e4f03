"""The table of architectures: sizes x families. A size is a row, a family is a row, a name is parsed."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass

from keras_vit.errors import InputError, suggest
from keras_vit.preprocessing import PRESETS, Preprocessing


@dataclass(frozen=True)
class Size:
    """Width (embedding dimension), depth, heads and MLP units of an encoder, and the patch sizes it is listed with."""

    width: int
    depth: int
    num_heads: int
    mlp_dim: int
    patches: tuple[int, ...]


@dataclass(frozen=True)
class Family:
    """How a family differs from another one of the same size.

    Attributes:
        pooling: `token`, `avg` or `map`, unless `build` is told otherwise.
        norm_epsilon: of every layer normalisation.
        preprocessing: the record that its published weights were trained with.
    """

    pooling: str
    norm_epsilon: float
    preprocessing: Preprocessing


@dataclass(frozen=True)
class Variant:
    """One architecture: a family in a size with a patch size."""

    name: str
    family: Family
    size: Size
    patch: int


SIZES = {
    "mu": Size(32, 1, 2, 128, (16,)),
    "ti": Size(192, 12, 3, 768, (16,)),
    "s": Size(384, 12, 6, 1536, (16, 32)),
    "m": Size(512, 12, 8, 2048, (16,)),
    "b": Size(768, 12, 12, 3072, (8, 16, 32)),
    "l": Size(1024, 24, 16, 4096, (16, 32)),
    "h": Size(1280, 32, 16, 5120, (14,)),
    "so400m": Size(1152, 27, 16, 4304, (14,)),
    "g": Size(1408, 40, 16, 6144, (14,)),
}
"""Dosovitskiy et al., 2021 (B, L, H); Touvron et al., 2021 (Ti, S); Zhai et al., 2022 (g); Alabdulmohsin et al., 2023
(So400m). `mu` is for tests."""

FAMILIES = {
    "vit": Family("token", 1e-6, PRESETS["inception"]),
    "deit": Family("token", 1e-6, PRESETS["imagenet"]),
}
"""`vit`: Dosovitskiy et al., 2021, and Steiner et al., 2022 (AugReg). `deit`: Touvron et al., 2021; the same network
trained on images normalised with ImageNet's statistics."""

_NAME = re.compile(rf"({'|'.join(FAMILIES)})_({'|'.join(SIZES)})([1-9]\d*)")


def list_models(pattern: str = "*") -> list[str]:
    """The architecture names that `build` takes, with their usual patch sizes.

    Any other patch size is accepted as well: `vit_ti4` is as good a name as `vit_ti16`.

    Args:
        pattern: as in a shell, for instance `"vit_b*"`.
    """
    names = [f"{family}_{size}{patch}" for family in FAMILIES for size in SIZES for patch in SIZES[size].patches]
    return fnmatch.filter(names, pattern)


def parse(name: str) -> Variant:
    """The architecture behind a name like `vit_b16`.

    Raises:
        InputError: the name does not follow the grammar `family_size+patch`.
    """
    match = _NAME.fullmatch(str(name))
    if not match:
        raise InputError(f"There is no model {name!r}: {suggest(name, list_models())}")
    family, size, patch = match.groups()
    return Variant(name, FAMILIES[family], SIZES[size], int(patch))

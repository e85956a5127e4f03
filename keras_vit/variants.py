"""The table of architectures: sizes x families. A size is a row, a family is a row, a name is parsed."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field

from keras_vit.errors import InputError, suggest
from keras_vit.preprocessing import PRESETS, Preprocessing


@dataclass(frozen=True)
class Size:
    """The dimensions of an encoder.

    Attributes:
        width: embedding dimension D.
        depth: number of blocks.
        num_heads: attention heads; divides the width.
        mlp_dim: hidden units of each block's MLP (of each of its two branches where it is gated).
        gated: whether the MLP is a SwiGLU (Shazeer, 2020).
        mlp_norm: whether the MLP's hidden units are normalised before the second dense layer (sub-LN).
    """

    width: int
    depth: int
    num_heads: int
    mlp_dim: int
    gated: bool = False
    mlp_norm: bool = False


@dataclass(frozen=True)
class Family:
    """How a family differs from another one of the same size. The defaults are the plain ViT's.

    Attributes:
        sizes: name of a size -> the patch sizes that it is listed with. Any other patch size builds as well.
        paper: where the family is from.
        own: sizes that mean something else in this family than in `SIZES`, or are only known here.
        preprocessing: the record that its published weights were trained with, unless the catalogue knows better.
        image_size: pixels, unless `build` is told otherwise.
        pooling: `token`, `avg` or `map`, unless `build` is told otherwise.
        norm_epsilon: of every layer normalisation.
        activation: of the MLPs, a key of `ACTIVATIONS`; gated MLPs have SiLU.
        class_token: whether a class token stands before the patches, unless `build` is told otherwise.
        registers: learned tokens between the class token and the patches (Darcet et al., 2024).
        distilled: the first register is DeiT's distillation token with a classifier of its own; the logits are the
            mean of both.
        positions: which tokens a learned position is added to: all `tokens`, `patches` only, or `none`.
        patch_norm: normalise the embedded tokens before the first block; the patch embedding then has no bias.
        layer_scale: a learned factor per channel after each branch, starting at this value; None for none.
        qkv_bias: `all`, `query_value` (the key has none), or `none`.
        rotary: rotary positions inside attention, a key of `ROTARY`; None for none.
        relative_bias: a learned bias per head and relative position inside attention.
        norm_after_pooling: where pooling is `avg`, the last normalisation comes after it.
    """

    sizes: dict[str, tuple[int, ...]]
    paper: str
    own: dict[str, Size] = field(default_factory=dict)
    preprocessing: Preprocessing = PRESETS["imagenet"]
    image_size: int = 224
    pooling: str = "token"
    norm_epsilon: float = 1e-6
    activation: str = "gelu"
    class_token: bool = True
    registers: int = 0
    distilled: bool = False
    positions: str = "tokens"
    patch_norm: bool = False
    layer_scale: float | None = None
    qkv_bias: str = "all"
    rotary: str | None = None
    relative_bias: bool = False
    norm_after_pooling: bool = False


@dataclass(frozen=True)
class Variant:
    """One architecture: a family in a size with a patch size."""

    name: str
    family_name: str
    size_name: str
    patch: int

    @property
    def family(self) -> Family:
        """The family's settings."""
        return FAMILIES[self.family_name]

    @property
    def size(self) -> Size:
        """The dimensions that the size has in this family."""
        return self.family.own.get(self.size_name) or SIZES[self.size_name]


SIZES = {
    "mu": Size(32, 1, 2, 128),
    "ti": Size(192, 12, 3, 768),
    "s": Size(384, 12, 6, 1536),
    "m": Size(512, 12, 8, 2048),
    "b": Size(768, 12, 12, 3072),
    "l": Size(1024, 24, 16, 4096),
    "so400m": Size(1152, 27, 16, 4304),
    "h": Size(1280, 32, 16, 5120),
    "g": Size(1408, 40, 16, 6144),
    "giantopt": Size(1536, 40, 16, 6144),
    "bigg": Size(1664, 48, 16, 8192),
}
"""Dosovitskiy et al., 2021 (B, L, H); Touvron et al., 2021 (Ti, S); Zhai et al., 2022 (g, G); Alabdulmohsin et al.,
2023 (So400m); Tschannen et al., 2025 (giant-opt). `mu` is for tests, and every family has it."""

_PLAIN = {
    "ti": (16,),
    "s": (16, 32),
    "m": (16,),
    "b": (8, 16, 32),
    "l": (16, 32),
    "so400m": (14,),
    "h": (14,),
    "g": (14,),
}
_DINOV2 = {
    "sizes": {"s": (14,), "b": (14,), "l": (14,), "g": (14,)},
    "own": {"g": Size(1536, 40, 24, 4096, gated=True)},
    "image_size": 518,
    "layer_scale": 1e-5,
}
_BEIT = {
    "sizes": {"b": (16,), "l": (16,)},
    "pooling": "avg",
    "positions": "none",
    "qkv_bias": "query_value",
    "relative_bias": True,
    "norm_after_pooling": True,
}
_CLIP = {
    "preprocessing": PRESETS["clip"],
    "norm_epsilon": 1e-5,
    "patch_norm": True,
}

FAMILIES = {
    "vit": Family(
        _PLAIN,
        "Dosovitskiy et al., 2021; AugReg: Steiner et al., 2022",
        preprocessing=PRESETS["inception"],
    ),
    "deit": Family(_PLAIN, "Touvron et al., 2021"),
    "deit_distilled": Family(
        {"ti": (16,), "s": (16,), "b": (16,)},
        "Touvron et al., 2021",
        registers=1,
        distilled=True,
    ),
    "deit3": Family(
        {"s": (16,), "m": (16,), "b": (16,), "l": (16,), "h": (14,)},
        "Touvron et al., 2022",
        positions="patches",
        layer_scale=1e-6,
    ),
    "mae": Family({"b": (16,), "l": (16,), "h": (14,)}, "He et al., 2022", norm_after_pooling=True),
    "dino": Family({"s": (8, 16), "b": (8, 16)}, "Caron et al., 2021"),
    "dinov2": Family(paper="Oquab et al., 2024", **_DINOV2),
    "dinov2_reg": Family(paper="Darcet et al., 2024", registers=4, positions="patches", **_DINOV2),
    "dinov3": Family(
        {"ti": (16,), "s": (16,), "splus": (16,), "b": (16,), "l": (16,), "hplus": (16,), "7b": (16,)},
        "Siméoni et al., 2025",
        own={
            "splus": Size(384, 12, 6, 1536, gated=True),
            "hplus": Size(1280, 32, 20, 5120, gated=True),
            "7b": Size(4096, 40, 32, 8192, gated=True),
        },
        image_size=256,
        norm_epsilon=1e-5,
        registers=4,
        positions="none",
        layer_scale=1e-5,
        qkv_bias="query_value",
        rotary="dinov3",
    ),
    "clip": Family(
        {"b": (16, 32), "l": (14,), "h": (14,), "bigg": (14,)},
        "Radford et al., 2021; MetaCLIP: Xu et al., 2024; DFN: Fang et al., 2024",
        activation="quick_gelu",
        **_CLIP,
    ),
    "openclip": Family(
        {"b": (16, 32), "l": (14,), "h": (14,), "g": (14,), "bigg": (14,)},
        "Cherti et al., 2023",
        **_CLIP,
    ),
    "siglip": Family(
        {"b": (16, 32), "l": (16,), "so400m": (14, 16), "giantopt": (16,)},
        "Zhai et al., 2023; SigLIP 2: Tschannen et al., 2025",
        preprocessing=PRESETS["inception"],
        pooling="map",
        activation="gelu_tanh",
        class_token=False,
    ),
    "vit_reg": Family(
        {"wee": (16,), "little": (16,), "medium": (16,), "mediumd": (16,), "betwixt": (16,)},
        "Wightman, 'Searching for better ViT baselines', 2024",
        own={
            "wee": Size(256, 14, 4, 1280),
            "little": Size(320, 14, 5, 1792),
            "medium": SIZES["m"],
            "mediumd": Size(512, 20, 8, 2048),
            "betwixt": Size(640, 12, 10, 2560),
        },
        preprocessing=PRESETS["inception"],
        image_size=256,
        pooling="avg",
        class_token=False,
        registers=4,
        positions="patches",
        layer_scale=1e-5,
        norm_after_pooling=True,
    ),
    "vit_gap": Family(
        {"medium": (16,)},
        "Wightman, timm, 2022",
        own={"medium": SIZES["m"]},
        image_size=256,
        pooling="avg",
        class_token=False,
        layer_scale=1e-6,
        qkv_bias="none",
    ),
    "ijepa": Family(
        {"h": (14, 16), "g": (16,)},
        "Assran et al., 2023",
        pooling="avg",
        class_token=False,
    ),
    "beit": Family(paper="Bao et al., 2022", preprocessing=PRESETS["inception"], layer_scale=0.1, **_BEIT),
    "beitv2": Family(paper="Peng et al., 2022", layer_scale=1e-5, **_BEIT),
    "eva02": Family(
        {"ti": (14,), "s": (14,), "b": (14,), "l": (14,)},
        "Fang et al., 2024",
        own={
            "mu": Size(32, 1, 2, 85, gated=True, mlp_norm=True),
            "ti": Size(192, 12, 3, 512, gated=True),
            "s": Size(384, 12, 6, 1024, gated=True),
            "b": Size(768, 12, 12, 2048, gated=True, mlp_norm=True),
            "l": Size(1024, 24, 16, 2730, gated=True, mlp_norm=True),
        },
        preprocessing=PRESETS["clip"],
        pooling="avg",
        qkv_bias="query_value",
        rotary="eva02",
        norm_after_pooling=True,
    ),
    "flexivit": Family(
        {"s": (16,), "b": (16,), "l": (16,)},
        "Beyer et al., 2023",
        preprocessing=PRESETS["inception"],
        image_size=240,
        positions="patches",
    ),
}
"""Family name -> what makes it differ from the plain ViT."""

_SIZE_NAMES = sorted({size for family in FAMILIES.values() for size in ("mu", *family.sizes)}, key=len, reverse=True)
_NAME = re.compile(rf"({'|'.join(sorted(FAMILIES, key=len, reverse=True))})_({'|'.join(_SIZE_NAMES)})([1-9]\d*)")


def list_models(pattern: str = "*") -> list[str]:
    """The architecture names that `build` takes, with their usual patch sizes.

    Any other patch size is accepted as well: `vit_ti4` is as good a name as `vit_ti16`.

    Args:
        pattern: as in a shell, for instance `"vit_b*"`.
    """
    names = [
        f"{name}_{size}{patch}"
        for name, family in FAMILIES.items()
        for size, patches in {"mu": (16,), **family.sizes}.items()
        for patch in patches
    ]
    return fnmatch.filter(names, pattern)


def parse(name: str) -> Variant:
    """The architecture behind a name like `vit_b16`.

    Raises:
        InputError: the name does not follow the grammar `family_size+patch`, or the family has no such size.
    """
    match = _NAME.fullmatch(str(name))
    if not match:
        raise InputError(f"There is no model {name!r}: {suggest(name, list_models())}")
    family, size, patch = match.groups()
    if size not in ("mu", *FAMILIES[family].sizes):
        raise InputError(f"There is no model {name!r}: the sizes of {family} are {', '.join(FAMILIES[family].sizes)}.")
    return Variant(name, family, size, int(patch))

"""The catalogue of published weights: what there is for each architecture, and where.

The JSON files beside this one are data, one a family and one line an entry; `scripts/make_catalogue.py` writes them.
"""

from __future__ import annotations

import fnmatch
import functools
import importlib.resources
import json
from dataclasses import dataclass, field
from typing import Any

from keras_vit.errors import InputError, suggest
from keras_vit.preprocessing import Preprocessing


@dataclass(frozen=True)
class Entry:
    """One set of published weights.

    Attributes:
        architecture: the name that `keras_vit.build` takes, like `vit_b16`.
        tag: the weights' name, like `augreg_in21k_ft_in1k`; one at a larger size ends with it, like `_384`.
        source: `hf:owner/name` of a Hugging Face repository, or a URL.
        timm: timm's name of the architecture.
        image_size: height and width in pixels that the weights were trained or last tuned at.
        mean: per channel, in the range 0..1.
        std: per channel, in the range 0..1.
        crop: the share of the resized image's side that the centre crop keeps.
        interpolation: `bicubic` or `bilinear`.
        fit: `crop` or `squash`.
        classes: outputs of the published head (for CLIP the width of its projection); 0 where there is none.
        parameters: exact number of the published network, head included.
        licence: of the weights, as timm records it; `unknown` where it does not.
        top1: on the validation images of ImageNet-1k at `image_size`, as a fraction; None where nobody published one.
        top1_from: where that number is from; None where there is none.
        options: settings of `keras_vit.build` in which the weights differ from their family.
    """

    architecture: str
    tag: str
    source: str
    timm: str
    image_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: float
    interpolation: str
    fit: str
    classes: int
    parameters: int
    licence: str
    top1: float | None
    top1_from: str | None
    options: dict[str, Any] = field(hash=False)

    def __post_init__(self):
        for name in ("image_size", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def name(self) -> str:
        """Architecture and tag, like `vit_b16.augreg_in21k_ft_in1k`."""
        return f"{self.architecture}.{self.tag}"

    @property
    def preprocessing(self) -> Preprocessing:
        """What is done to an image before these weights see it."""
        return Preprocessing(self.image_size, self.mean, self.std, self.crop, self.interpolation, self.fit)

    @property
    def megabytes(self) -> float:
        """Size in float32, in units of 10^6 bytes; the published file may be in half precision."""
        return 4 * self.parameters / 1e6


def entries(architecture: str) -> dict[str, Entry]:
    """Tag -> published weights of an architecture, sorted; empty where there are none."""
    return dict(_read().get(architecture, {}))


def find(architecture: str, tag: str) -> Entry:
    """The published weights of a name.

    Raises:
        InputError: the architecture has no published weights, or none of this tag.
    """
    known = _read().get(architecture)
    if not known:
        raise InputError(
            f"There are no published weights for {architecture!r}: give a file, leave weights out to begin from random "
            "numbers, or choose an architecture from keras_vit.list_weights()."
        )
    if tag not in known:
        raise InputError(f"There are no weights {tag!r} for {architecture}: {suggest(tag, known)}")
    return known[tag]


def from_timm(architecture: str) -> str | None:
    """Our name of one of timm's architectures; None where nothing published has it."""
    return next((e.architecture for tags in _read().values() for e in tags.values() if e.timm == architecture), None)


def list_weights(pattern: str = "*") -> list[str]:
    """The names of published weights, `architecture.tag`, sorted.

    Args:
        pattern: as in a shell, of the architecture or of the whole name: `"vit_b16"`, `"vit_*"`, `"*in21k*"`.
    """
    return [
        entry.name
        for architecture, tags in _read().items()
        for entry in tags.values()
        if fnmatch.fnmatchcase(architecture, pattern) or fnmatch.fnmatchcase(entry.name, pattern)
    ]


@functools.cache
def _read() -> dict[str, dict[str, Entry]]:
    """Architecture -> tag -> entry of all families."""
    found = {}
    for file in importlib.resources.files(__name__).iterdir():
        if file.name.endswith(".json"):
            for architecture, tags in json.loads(file.read_text(encoding="utf-8")).items():
                found[architecture] = {tag: Entry(architecture, tag, **values) for tag, values in tags.items()}
    return dict(sorted(found.items()))

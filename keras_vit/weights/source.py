"""What `build(weights=...)` was given: a tag of the catalogue, a repository, a URL or a file, located and opened."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from keras_vit.preprocessing import Preprocessing
from keras_vit.variants import Variant
from keras_vit.weights import catalogue
from keras_vit.weights.fetch import fetch
from keras_vit.weights.formats import FORMATS, Checkpoint, open_checkpoint


@dataclass(frozen=True)
class Source:
    """Weights on this machine, and what is known about them before any array is read.

    Attributes:
        name: what the user gave.
        checkpoint: the opened file.
        preprocessing: the record that they were trained with; None where nothing says it.
        image_size: (H, W) in pixels that they were trained at; None where nothing says it.
        options: settings of `build` in which they differ from their family.
    """

    name: str
    checkpoint: Checkpoint
    preprocessing: Preprocessing | None
    image_size: tuple[int, int] | None
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The end of the name, as people are shown it: the query of a URL may hold a key."""
        base = re.split(r"[?#]", self.name)[0] if self.name.lower().startswith("http") else self.name
        return Path(base).name or self.name


def locate(weights: str | os.PathLike, variant: Variant) -> Source:
    """Finds weights, downloads them if they are not here yet, and opens them.

    Args:
        weights: a tag of the catalogue (`augreg_in21k_ft_in1k`), `hf:owner/name[@revision]`, a URL, or a path.
        variant: the architecture that they are for.

    Raises:
        InputError: there is no such tag, file or repository, or the file is damaged.
        Failure: a download broke off.
    """
    if _is_tag(weights):
        entry = catalogue.find(variant.name, weights)
        checkpoint = open_checkpoint(fetch(entry.source))
        return Source(weights, checkpoint, entry.preprocessing, entry.image_size, entry.options)
    checkpoint = open_checkpoint(fetch(weights))
    return Source(os.fspath(weights), checkpoint, checkpoint.preprocessing, checkpoint.image_size)


def _is_tag(weights: str | os.PathLike) -> bool:
    """A bare word is a tag, unless it names something that exists or has the ending of a weights file."""
    if not isinstance(weights, str) or not weights or ":" in weights or "/" in weights or os.sep in weights:
        return False
    return Path(weights).suffix not in FORMATS and not os.path.exists(weights)

"""A file of arrays that was opened but not read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_vit.preprocessing import Preprocessing


@dataclass(frozen=True)
class Checkpoint:
    """The arrays of a file or folder.

    Attributes:
        path: where it is.
        shapes: name -> shape.
        read: name -> array, read from the file when it is called.
        metadata: what the file says about itself: `image_size` ("224 320", pixels), `preprocessing` (the record as
            JSON), `activation` (of the MLPs, a key of `ACTIVATIONS`). Anything else is left alone.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(H, W) in pixels that the positions are for, where the file says it."""
        said = self.metadata.get("image_size", "").split()
        return (int(said[0]), int(said[1])) if len(said) == 2 and all(s.isdigit() for s in said) else None

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The record that the weights were trained with, where the file says it."""
        said = self.metadata.get("preprocessing")
        return Preprocessing(**json.loads(said)) if said else None


def metadata_of(preprocessing: Preprocessing | None, image_size: tuple[int, int], activation: str) -> dict[str, str]:
    """What a written file says about itself."""
    said = {"image_size": "{} {}".format(*image_size), "activation": activation}
    return said | ({"preprocessing": json.dumps(preprocessing.to_dict())} if preprocessing else {})

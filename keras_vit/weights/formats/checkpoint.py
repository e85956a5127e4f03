"""A file of arrays that was opened but not read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing
from keras_vit.weights.architecture import Architecture
from keras_vit.weights.formats.values import UNUSABLE, reason, record, sides

LONGEST_NAME = 300


@dataclass(frozen=True)
class Checkpoint:
    """The arrays of a file or folder.

    Attributes:
        path: where it is.
        shapes: name -> shape.
        read: name -> array, read from the file when it is called.
        metadata: what the file says about itself, as text: `image_size` ("224 320", pixels), `preprocessing` (the
            record as JSON), and what no array shows: `activation` (of the MLPs, a key of `ACTIVATIONS`), `num_heads`,
            `norm_epsilon`, `pooling` (before the classifier). Anything else is left alone.

    Raises:
        InputError: an array has a name that cannot be printed.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        for name in self.shapes:
            if not name or not name.isprintable() or len(name) > LONGEST_NAME:
                raise InputError(f"{self.path} has an array called {name[:40]!r}, which is no name: fetch it again.")

    @property
    def name(self) -> str:
        """What sentences call it."""
        return self.path.absolute().name

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(H, W) in pixels that the positions are for, where the file says it."""
        try:
            return sides([int(side) for side in self.metadata.get("image_size", "").split()])
        except ValueError:
            return None

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The record that the weights were trained with, where the file says it.

        Raises:
            InputError: it says something that is no record.
        """
        said = self.metadata.get("preprocessing")
        if not said:
            return None
        try:
            return record(json.loads(said))
        except UNUSABLE as error:
            raise InputError(
                f"{self.path} has a preprocessing record that cannot be used ({reason(error)}): fetch it again, or "
                "save it anew."
            ) from None


def metadata_of(architecture: Architecture) -> dict[str, str]:
    """What a written file says about itself."""
    family, record = architecture.variant.family, architecture.preprocessing
    said = {
        "image_size": "{} {}".format(*architecture.image_size),
        "activation": family.activation,
        "num_heads": str(architecture.variant.size.num_heads),
        "norm_epsilon": str(family.norm_epsilon),
        "pooling": architecture.pooling,
    }
    return said | ({"preprocessing": json.dumps(record.to_dict())} if record else {})

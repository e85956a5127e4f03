"""Whether a map shows what a model goes by: its answer while the map's places come, or go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.special import softmax

from keras_vit.errors import InputError
from keras_vit.explain.asked import answers, mean_colour, positive
from keras_vit.explain.replay import checked, replay_of


@dataclass(frozen=True)
class Faithfulness:
    """How a model's answer follows a map, for each of B images.

    Attributes:
        insertion: (B, steps + 1) probability of the model's own class while patches appear on the blurred image, those
            that the map has highest first.
        deletion: (B, steps + 1) the same while they vanish.
    """

    insertion: np.ndarray
    deletion: np.ndarray

    @property
    def insertion_score(self) -> np.ndarray:
        """(B,), the area under `insertion`, 0..1: high for a good map."""
        return _area(self.insertion)

    @property
    def deletion_score(self) -> np.ndarray:
        """(B,), the area under `deletion`, 0..1: low for a good map."""
        return _area(self.deletion)


def faithfulness(
    model: keras.Model,
    images: np.ndarray,
    maps: np.ndarray,
    *,
    steps: int = 28,
    blur: float | None = None,
    seed: int = 0,
    outputs_of: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Faithfulness:
    """Insertion and deletion of Petsiuk, Das and Saenko, "RISE", BMVC 2018, patch by patch.

    What a map is worth can only be said beside others: a random one, and one that knows nothing but that things are in
    the middle of photos (`centre_map`). Both scores see the model on images unlike any that it was trained on.

    Args:
        model: a classifier.
        images: (B, H, W, channels), pixels 0..255.
        maps: (B, h', w') of any resolution.
        steps: of equally many patches each.
        blur: standard deviation in pixels of the blurred image that insertion starts from; half a patch by default.
        seed: of the order of patches that a map does not tell apart.
        outputs_of: what gives the model's outputs; a compiled one is faster than the model itself, the default.

    Raises:
        InputError: no classifier, no map an image, or no positive number of steps.
    """
    positive("steps", steps)
    replay = replay_of(model)
    images, maps = checked(images, replay).astype("float32"), np.asarray(maps, "float32")
    if len(model.output.shape) != 2:
        raise InputError(f"Insertion and deletion are scores of classifiers, and {model.name!r} is none.")
    if maps.ndim != 3 or len(maps) != len(images):
        raise InputError(f"Give one map (h, w) an image, {len(images)} of them, not an array {maps.shape}.")
    outputs_of = outputs_of or (lambda pixels: answers(model, pixels))
    colour, blur = mean_colour(model), replay.patch_size / 2 if blur is None else blur
    rng, found = np.random.default_rng(seed), []
    for image, heat in zip(images, maps, strict=True):
        ranks = _ranks(heat, replay.grid, rng)
        # From nothing to everything: patches whose rank is below the limit.
        limits = np.linspace(0, ranks.size, steps + 1).round().astype(int)
        shown = (ranks < limits[:, None, None]).repeat(replay.patch_size, 1).repeat(replay.patch_size, 2)[..., None]
        blurred = gaussian_filter(image, (blur, blur, 0), mode="nearest")
        # The last of those that appear is the image, which nothing has vanished from yet.
        pixels = np.concatenate([np.where(shown, image, blurred), np.where(shown[1:], colour, image)])
        said = softmax(outputs_of(pixels.astype("float32")), axis=-1)
        sure = said[:, said[steps].argmax()]
        found.append((sure[: steps + 1], sure[steps:]))
    return Faithfulness(*map(np.stack, zip(*found, strict=True)))


def centre_map(grid: tuple[int, int]) -> np.ndarray:
    """(h, w), highest in the middle of the image: what one would say without looking."""
    rows, columns = (np.linspace(-1, 1, side) if side > 1 else np.zeros(1) for side in grid)
    return (2 - rows[:, None] ** 2 - columns**2).astype("float32")


def _ranks(heat: np.ndarray, grid: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(h, w) of a map of any resolution: 0 for the highest patch, and so on, equal ones in any order."""
    if heat.shape != tuple(grid):
        heat = np.asarray(Image.fromarray(heat).resize(grid[::-1], Image.Resampling.BOX))
    order = np.lexsort((rng.permutation(heat.size), -heat.reshape(-1)))
    ranks = np.empty(heat.size, int)
    ranks[order] = np.arange(heat.size)
    return ranks.reshape(grid)


def _area(curves: np.ndarray) -> np.ndarray:
    return ((curves[:, :-1] + curves[:, 1:]) / 2).mean(-1)

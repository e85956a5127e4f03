"""Pictures of segmented images: classes laid over the image in their colours, beside the truth, with a legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from keras_vit.evaluation.colours import class_colours
from keras_vit.evaluation.side_by_side import side_by_side

OPACITY = 0.55


def overlay(image: np.ndarray, classes: np.ndarray, num_classes: int) -> np.ndarray:
    """The image with each pixel tinted by its class and a dark line where classes meet.

    Args:
        image: (H, W, 1 or 3) uint8.
        classes: (H, W) whole numbers; pixels below 0 belong to no class and stay as they are.
        num_classes: C.

    Returns:
        (H, W, 3) uint8.
    """
    pixels = np.broadcast_to(image, (*image.shape[:2], 3)).astype("float32")
    tint = class_colours(num_classes)[np.maximum(classes, 0)].astype("float32")
    mixed = np.where((classes >= 0)[..., None], (1 - OPACITY) * pixels + OPACITY * tint, pixels)
    edges = np.zeros(classes.shape, bool)
    edges[:, 1:] |= classes[:, 1:] != classes[:, :-1]
    edges[1:] |= classes[1:] != classes[:-1]
    mixed[edges] *= 0.4
    return mixed.round().astype("uint8")


def segmentation_sheet(
    images: Sequence[np.ndarray],
    maps: Sequence[Sequence[np.ndarray]],
    headings: Sequence[str],
    class_names: Sequence[str],
    *,
    titles: Sequence[str] | None = None,
    columns: int = 1,
    inches: float = 2.4,
) -> Figure:
    """Images, each with its maps laid over it side by side, and a legend of the classes that are seen.

    Args:
        images: n arrays uint8 (H, W, 1 or 3).
        maps: for each image its class maps (H, W), such as what was predicted and the truth.
        headings: what each map is.
        class_names: C names.
        titles: n texts that stand before the first heading of their image.
        columns: so many images stand in a row.
        inches: width of a map.
    """
    return side_by_side(
        [
            [overlay(image, found, len(class_names)) for found in group]
            for image, group in zip(images, maps, strict=True)
        ],
        headings,
        class_names,
        {index for group in maps for found in group for index in np.unique(found) if index >= 0},
        titles=titles,
        columns=columns,
        inches=inches,
    )

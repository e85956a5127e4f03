"""The kinds of labels: what the data room knows of classes, of masks and of boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from keras_vit.data import box_labels, class_labels, mask_labels
from keras_vit.data.examples import Source
from keras_vit.data.labels import Labels
from keras_vit.data.views import Views


@dataclass(frozen=True)
class LabelKind:
    """What a task knows of its labels.

    Attributes:
        readers: kind of data -> the reader that is called with the rest of the spec.
        kind_of: from what the user names to the kind of data and what its reader is called with; raises InputError
            where nothing fits.
        check: raises InputError where the labels of a source make no sense.
        strata: (n,) int64, the group of each image whose share every carved split keeps; None for a plain shuffle.
        inspect: called with (labels, index, height, width) once an image's size is known: what is wrong with the
            image's label, or None.
        views: called with (labels, preprocessing, num_classes): from decoded images to what a model takes.
    """

    readers: Mapping[str, Callable[[str], Source]]
    kind_of: Callable[[str], tuple[str, str]]
    check: Callable[[Source], None]
    strata: Callable[[np.ndarray | Labels], np.ndarray | None]
    inspect: Callable[[np.ndarray | Labels, int, int, int], str | None]
    views: Callable[..., Views]


CLASSES = LabelKind(
    readers=class_labels.READERS,
    kind_of=class_labels.kind_of,
    check=class_labels.check,
    strata=lambda labels: labels,
    inspect=lambda labels, index, height, width: None,
    views=class_labels.ClassViews,
)
"""One class an image: (n,) int64."""

MASKS = LabelKind(
    readers=mask_labels.READERS,
    kind_of=mask_labels.kind_of,
    check=mask_labels.check,
    strata=lambda labels: None,
    inspect=mask_labels.inspect,
    views=mask_labels.MaskViews,
)
"""A class for every pixel: `Masks`."""

BOXES = LabelKind(
    readers=box_labels.READERS,
    kind_of=box_labels.kind_of,
    check=box_labels.check,
    strata=lambda labels: None,
    inspect=box_labels.inspect,
    views=box_labels.BoxViews,
)
"""Objects with a box and a class: `Boxes`."""

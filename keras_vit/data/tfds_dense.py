"""Masks and boxes from TensorFlow Datasets."""

from __future__ import annotations

import numpy as np

from keras_vit.data.boxes import Boxes, make_boxes
from keras_vit.data.examples import Source
from keras_vit.data.image_size import image_size
from keras_vit.data.mask_files import known_classes
from keras_vit.data.masks import Masks
from keras_vit.data.tfds_source import TFDSExamples, TFDSPictures, open_tfds, pictures, splits_of
from keras_vit.data.threads import in_threads
from keras_vit.errors import InputError

_IMAGE, _OBJECTS = "image", "objects"
_MASKS = ("segmentation_mask", "segmentation_label", "mask", "annotation")
_CROWD = ("is_crowd", "is_difficult")


def read_tfds_masks(name: str) -> Source:
    """Reads a TFDS data set with an image and a mask per example, downloading it when it is not there.

    Classes are those that the mask's feature names; where it names none, every value that is found is a class, called
    by its number (oxford_iiit_pet: 1, 2, 3).

    Raises:
        InputError: no such data set, no mask in it, or it cannot be prepared.
    """
    import tensorflow_datasets as tfds

    builder = open_tfds(name)
    features = dict(builder.info.features.items())
    mask = next((key for key in _MASKS if isinstance(features.get(key), tfds.features.Image)), None)
    if mask is None or not isinstance(features.get(_IMAGE), tfds.features.Image):
        raise InputError(f"tfds:{name} is not images with one mask each: choose a segmentation data set.")
    found, notes = splits_of(name, builder)
    stores = {split: TFDSPictures(examples, mask) for split, (_, examples) in found.items()}
    names = features[mask].names if isinstance(features[mask], tfds.features.LabeledImage) else None
    class_names, classes = known_classes(names, None, stores.values())
    splits = {
        split: pictures(original, examples, _IMAGE, Masks(stores[split], classes))
        for split, (original, examples) in found.items()
    }
    return Source(splits, class_names, notes)


def read_tfds_boxes(name: str) -> Source:
    """Reads a TFDS data set with an image and `objects` of `bbox` and `label` per example, downloading it if needed.

    Objects that are marked as a crowd or difficult are no targets.

    Raises:
        InputError: no such data set, no such objects in it, or it cannot be prepared.
    """
    import tensorflow_datasets as tfds

    builder = open_tfds(name)
    features = dict(builder.info.features.items())
    objects = features.get(_OBJECTS)
    is_dict = isinstance(objects, tfds.features.Sequence) and isinstance(objects.feature, tfds.features.FeaturesDict)
    inner = dict(objects.feature.items()) if is_dict else {}
    wanted = (
        (features.get(_IMAGE), tfds.features.Image),
        (inner.get("bbox"), tfds.features.BBoxFeature),
        (inner.get("label"), tfds.features.ClassLabel),
    )
    if not all(isinstance(feature, kind) for feature, kind in wanted):
        raise InputError(f"tfds:{name} is not images with objects of bbox and label: choose a detection data set.")
    found, notes = splits_of(name, builder)
    splits = {
        split: pictures(original, examples, _IMAGE, _boxes(examples)) for split, (original, examples) in found.items()
    }
    return Source(splits, list(inner["label"].names), notes)


def _boxes(examples: TFDSExamples) -> Boxes:
    places = range(len(examples))
    found = list(in_threads(lambda some: [_rows(examples[i]) for i in some], places, "Reading boxes"))
    return make_boxes([rows for rows, _ in found], [size for _, size in found])


def _rows(example: dict) -> tuple[list[tuple], tuple[int, int]]:
    """Rows of one example and the height and width of its image: TFDS has y, x, y, x as shares of them."""
    objects, (height, width) = example[_OBJECTS], image_size(example[_IMAGE])
    crowd = next((objects[key] for key in _CROWD if key in objects), np.zeros(len(objects["label"]), bool))
    corners = np.asarray(objects["bbox"], np.float64).reshape(-1, 4)[:, [1, 0, 3, 2]] * [width, height, width, height]
    areas = objects.get("area", [None] * len(corners))
    rows = [
        (*box, int(label), bool(many), None if area is None else float(area))
        for box, label, many, area in zip(corners.tolist(), objects["label"], crowd, areas, strict=True)
    ]
    return rows, (height, width)

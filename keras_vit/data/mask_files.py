"""Masks from folders, CSVs and .npz files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from keras_vit.data.arrays import read_arrays
from keras_vit.data.class_names import find_class_names
from keras_vit.data.csv_file import locate, read_rows, split_of
from keras_vit.data.examples import Examples, Source
from keras_vit.data.folder import EXTENSIONS
from keras_vit.data.masks import IGNORE, VOID, Masks
from keras_vit.data.pairs import check_matched, files_by_stem, find_pairs, images_by_stem
from keras_vit.data.threads import in_threads
from keras_vit.errors import InputError

FOLDERS = ("masks", "annotations", "labels")
"""What the folder of masks beside `images` may be called."""
_EXTENSIONS = EXTENSIONS | {".tif", ".tiff"}


def read_mask_folder(root: Path) -> Source:
    """Reads folders `images` and `masks` with files of the same name; see `find_pairs` for where the splits may be.

    The classes are named by `classes.json`, `classes.txt` or `labels.txt` in `root`; without them every value that
    is found is a class, called by its number.

    Raises:
        InputError: folders or files that are missing or do not match.
    """
    splits: dict[str, tuple[list[str], list[str]]] = {}
    for split, (image_folder, mask_folder) in find_pairs(root, FOLDERS).items():
        images, masks = images_by_stem(image_folder), files_by_stem(mask_folder, _EXTENSIONS)
        check_matched(images, masks, "mask", all_needed=True)
        splits[split] = [str(path) for path in images.values()], [str(masks[stem]) for stem in images]
    names, ignored = find_class_names(root)
    class_names, classes = known_classes(names, ignored, [masks for _, masks in splits.values()])
    return Source(
        {split: Examples(labels=Masks(masks, classes), paths=images) for split, (images, masks) in splits.items()},
        class_names,
    )


def read_mask_csv(path: Path) -> Source:
    """Reads `file,mask[,split]`; both are looked for beside the CSV, and images in `images/`, masks in `masks/` too.

    Raises:
        InputError: columns, files or splits that do not fit.
    """
    rows = read_rows(path, ("file", "mask"))
    everything = locate(path, [row["file"] for row in rows])
    masks = _located(path, [row["mask"] for row in rows])
    members: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        members.setdefault(split_of(path, row), []).append(i)
    class_names, classes = known_classes(*find_class_names(path.parent), [masks])
    everything.labels = Masks(masks, classes)
    return Source({split: everything.subset(indices) for split, indices in members.items()}, class_names)


def read_mask_npz(path: Path) -> Source:
    """Reads `x_train, y_train[, x_val, y_val][, x_test, y_test][, class_names]` with masks (n, H, W[, 1]) as y.

    Raises:
        InputError: no numpy archive, no such arrays, wrong shapes, types or values.
    """
    found, names = read_arrays(path)
    splits: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for split, (x, images, y, masks) in found.items():
        if masks.ndim == 4 and masks.shape[-1] == 1:
            masks = masks[..., 0]
        if masks.ndim != 3 or not (np.issubdtype(masks.dtype, np.integer) or masks.dtype == bool):
            raise InputError(f"{y} of {path} is {masks.dtype} of shape {masks.shape}: make it masks (n, H, W).")
        if len(images) != len(masks):
            raise InputError(f"{path} has {len(images)} images in {x} and {len(masks)} masks in {y}: make them match.")
        splits[split] = images, masks
    class_names, classes = known_classes(names, None, [list(masks) for _, masks in splits.values()])
    return Source(
        {
            split: Examples(labels=Masks(list(masks), classes), images=images)
            for split, (images, masks) in splits.items()
        },
        class_names,
    )


def known_classes(
    names: list[str] | None, ignored: int | None, stores: Iterable[Sequence]
) -> tuple[list[str], dict[int, int]]:
    """The class names, and the class of each raw value.

    Args:
        names: the name of each value from 0; None where every value that is found is a class of its own.
        ignored: a value that is no class; its name is left out. 255 is ignored as well, where it has no name.
        stores: the masks of each split, as `Masks.stored`.
    """
    if names is None:
        masks = [(Masks(stored, {}), i) for stored in stores for i in range(len(stored))]
        found = {value for values in in_threads(_values, masks, "Reading masks") for value in values}
        values = sorted(found - {VOID, ignored})
        return [str(value) for value in values], _numbered(values, ignored)
    values = [value for value in range(len(names)) if value != ignored]
    return [names[value] for value in values], _numbered(values, ignored)


def _numbered(values: list[int], ignored: int | None) -> dict[int, int]:
    classes = {VOID: IGNORE} | {value: index for index, value in enumerate(values)}
    return classes if ignored is None else classes | {ignored: IGNORE}


def _values(masks: list[tuple[Masks, int]]) -> list[list[int]]:
    """The values of each mask; of one that cannot be read none, since the check of all images names it."""
    found = []
    for stored, index in masks:
        try:
            found.append([value for value in np.unique(stored.raw(index)).tolist() if value >= 0])
        except InputError:
            found.append([])
    return found


def _located(path: Path, files: list[str]) -> list[str]:
    for root in (path.parent, path.parent / FOLDERS[0]):
        missing = [file for file in files if not (root / file).is_file()]
        if not missing:
            return [str(root / file) for file in files]
        if root == path.parent:
            beside = missing
    raise InputError(
        f"{path} names {len(beside)} mask(s) that are not there, the first is {beside[0]}: paths are relative to the "
        "CSV; correct them or add the files."
    )

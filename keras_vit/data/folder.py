"""Image folders: train/ val/ test/ with class folders, or class folders alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_vit.data.examples import Examples, Source
from keras_vit.errors import InputError, suggest

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"})
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""What a split may be called in folders, CSVs and arrays, and what it is called here."""


def read_folder(root: Path) -> Source:
    """Reads an image folder; hidden files and files that are no images by their extension are ignored.

    Args:
        root: holds train/ and maybe val/ (or valid/, validation/) and test/, each with one folder a class; or holds
            the class folders themselves.

    Raises:
        InputError: no class folders, an empty one, or other classes in val or test than in train.
    """
    folders = _subfolders(root)
    if not folders:
        remedy = "give each class a folder of its own" if _images(root) else "put class folders with images into it"
        raise InputError(f"{root} holds no class folders: {remedy}.")
    split_folders = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES]
    if split_folders == folders and not any(SPLIT_NAMES[folder.name.lower()] == "train" for folder in folders):
        found = ", ".join(folder.name for folder in folders)
        raise InputError(f"{root} has the folders {found}, but no train folder: put the images to train on there.")
    if not any(SPLIT_NAMES[folder.name.lower()] == "train" for folder in split_folders):
        return Source({"train": _read_classes(folders)}, [folder.name for folder in folders])

    by_split: dict[str, Path] = {}
    for folder in split_folders:
        split = SPLIT_NAMES[folder.name.lower()]
        if split in by_split:
            raise InputError(f"{by_split[split]} and {folder} are both the {split} split: keep one of them.")
        by_split[split] = folder
    class_names = [folder.name for folder in _subfolders(by_split["train"])]
    if not class_names:
        raise InputError(f"{by_split['train']} holds no class folders: give each class a folder of its own.")
    splits, notes = {}, []
    for split, folder in by_split.items():
        if split == "test" and not _subfolders(folder):
            notes.append(f"{folder} has no class folders, so there are no test labels and it is left out.")
            continue
        splits[split] = _read_classes(_matched(folder, class_names))
    return Source(splits, class_names, notes)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images(folder: Path) -> list[str]:
    """Image files under `folder`, however deep, sorted."""
    return sorted(
        str(path)
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _matched(folder: Path, class_names: list[str]) -> list[Path]:
    """The class folders of one split, in the order of `class_names`."""
    found = {path.name: path for path in _subfolders(folder)}
    for name in found:
        if name not in class_names:
            raise InputError(f"{found[name]} is a class that train does not have: {suggest(name, class_names)}")
    for name in class_names:
        if name not in found:
            raise InputError(f"{folder} has no folder for the class {name!r} of train: add it with images.")
    return [found[name] for name in class_names]


def _read_classes(folders: list[Path]) -> Examples:
    paths: list[str] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        images = _images(folder)
        if not images:
            accepted = ", ".join(sorted(extension[1:] for extension in EXTENSIONS))
            raise InputError(f"The class folder {folder} has no images ({accepted}): add some or remove the folder.")
        paths += images
        labels += [label] * len(images)
    return Examples(labels=np.array(labels, np.int64), paths=paths)

"""Folders of images beside folders of one file an image, as masks and YOLO's boxes come."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from keras_vit.data.folder import EXTENSIONS, SPLIT_NAMES
from keras_vit.errors import InputError

_IMAGES = "images"


def find_pairs(root: Path, companions: Iterable[str]) -> dict[str, tuple[Path, Path]]:
    """The folder of images and the folder of their companions, by split.

    The splits may be around them (`train/images`, `train/masks`), inside (`images/train`, `masks/train`), or missing
    (`images`, `masks`: all is train).

    Args:
        root: where to look.
        companions: what the other folder may be called.

    Raises:
        InputError: no such folders, one without its companion, or two folders for one split.
    """
    companions = list(companions)
    around = {folder: folder / _IMAGES for folder in _split_folders(root) if (folder / _IMAGES).is_dir()}
    inside = _split_folders(root / _IMAGES) if (root / _IMAGES).is_dir() else []
    if around:
        found = [(folder.name, images, _companion(folder, companions)) for folder, images in around.items()]
    elif inside:
        other = _companion(root, companions)
        by_split = {SPLIT_NAMES[folder.name.lower()]: folder for folder in _split_folders(other)}
        found = []
        for folder in inside:
            split = SPLIT_NAMES[folder.name.lower()]
            if split not in by_split:
                raise InputError(f"{folder} has no folder of the same split in {other}: add {other / folder.name}.")
            found.append((folder.name, folder, by_split[split]))
    elif (root / _IMAGES).is_dir():
        found = [("train", root / _IMAGES, _companion(root, companions))]
    else:
        raise InputError(
            f"{root} holds no folders {_IMAGES} and {companions[0]}: put them there, or into {root}/train and so on."
        )
    pairs: dict[str, tuple[Path, Path]] = {}
    for name, images, other in found:
        split = SPLIT_NAMES[name.lower()]
        if split in pairs:
            raise InputError(f"{pairs[split][0]} and {images} are both the {split} split: keep one of them.")
        pairs[split] = images, other
    return pairs


def files_by_stem(folder: Path, extensions: Iterable[str]) -> dict[str, Path]:
    """The files under a folder with one of the extensions, by their path in it without the extension, sorted.

    Raises:
        InputError: two files differ in their extension only.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inner.parts)
        if hidden or path.suffix.lower() not in extensions or not path.is_file():
            continue
        stem = str(inner.with_suffix(""))
        if stem in found:
            raise InputError(f"{found[stem]} and {path} have the same name: keep one, or rename it.")
        found[stem] = path
    return found


def images_by_stem(folder: Path) -> dict[str, Path]:
    """The images under a folder, by their path in it without the extension.

    Raises:
        InputError: there is none, or two differ in their extension only.
    """
    images = files_by_stem(folder, EXTENSIONS)
    if not images:
        accepted = ", ".join(sorted(extension[1:] for extension in EXTENSIONS))
        raise InputError(f"{folder} has no images ({accepted}): add some.")
    return images


def check_matched(images: dict[str, Path], others: dict[str, Path], what: str, *, all_needed: bool) -> None:
    """Every companion has an image and, if `all_needed`, every image a companion, or an InputError."""
    lonely = [path for stem, path in others.items() if stem not in images]
    if lonely:
        raise InputError(
            f"{len(lonely)} {what} file(s) have no image of the same name, the first is {lonely[0]}: add the images, "
            "or remove the files."
        )
    missing = [path for stem, path in images.items() if stem not in others]
    if missing and all_needed:
        raise InputError(
            f"{len(missing)} image(s) have no {what} of the same name, the first is {missing[0]}: add the {what}, or "
            "remove the images."
        )


def _split_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name.lower() in SPLIT_NAMES)


def _companion(folder: Path, names: list[str]) -> Path:
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise InputError(f"{folder} has no folder {names[0]} beside {_IMAGES}: add it.")

"""Boxes from YOLO's text files: https://docs.ultralytics.com/datasets/detect."""

from __future__ import annotations

import math
from pathlib import Path

import yaml

from keras_vit.data.boxes import make_boxes
from keras_vit.data.class_names import find_class_names
from keras_vit.data.examples import Examples, Source
from keras_vit.data.image_size import image_size
from keras_vit.data.pairs import check_matched, files_by_stem, find_pairs, images_by_stem
from keras_vit.data.threads import in_threads
from keras_vit.errors import InputError

_FOLDERS = ("labels",)
_NO_LABELS = frozenset({"classes"})  # annotation tools leave their list of classes among the labels


def is_yolo(root: Path) -> bool:
    """Whether a folder has `images` and `labels`, or `train` with both, and something that names the classes."""
    return any((place / "images").is_dir() and (place / "labels").is_dir() for place in (root, root / "train"))


def read_yolo(root: Path) -> Source:
    """Reads folders `images` and `labels` with files of the same name; see `find_pairs` for where the splits may be.

    A line of a text file is `class x y width height`, the centre and the size of a box as shares of the upright image;
    an image without a text file has no boxes. Classes are the `names` of the folder's one .yaml, or `classes.txt`.

    Raises:
        InputError: no class names, a line that is no box, a class without a name, a text file without image.
    """
    class_names, splits = _class_names(root), {}
    for split, (image_folder, label_folder) in find_pairs(root, _FOLDERS).items():
        images, texts = images_by_stem(image_folder), files_by_stem(label_folder, {".txt"})
        texts = {stem: path for stem, path in texts.items() if stem in images or stem not in _NO_LABELS}
        check_matched(images, texts, "label", all_needed=False)
        paths = [str(path) for path in images.values()]
        sizes = list(in_threads(lambda some: [image_size(path) for path in some], paths, "Reading image sizes"))
        rows = [
            _read(texts[stem], size, class_names) if stem in texts else []
            for stem, size in zip(images, sizes, strict=True)
        ]
        splits[split] = Examples(labels=make_boxes(rows, sizes), paths=paths)
    return Source(splits, class_names)


def _class_names(root: Path) -> list[str]:
    files = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    if len(files) > 1:
        raise InputError(f"{root} has {len(files)} .yaml files: keep the one that names the classes.")
    if not files:
        names, _ = find_class_names(root)
        if names is None:
            raise InputError(f"{root} does not name its classes: add a data.yaml with names, or a classes.txt.")
        return names
    try:
        content = yaml.safe_load(files[0].read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{files[0]} is no readable YAML ({str(error).splitlines()[0]}): correct it.") from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise InputError(f"{files[0]} has no list of names, one for each class from 0: add it.")
    return [str(name) for name in names]


def _read(path: Path, size: tuple[int, int], class_names: list[str]) -> list[tuple]:
    """Rows (x0, y0, x1, y1, class, False, None) in pixels."""
    rows = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no UTF-8 text ({error.reason}): write it again.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            label, x, y, width, height = (float(word) for word in line.split())
        except ValueError:
            label = x = y = width = height = math.nan
        if not all(map(math.isfinite, (label, x, y, width, height))) or label != int(label):
            raise InputError(
                f"Line {number} of {path} is {line.strip()[:60]!r}: write class x y width height, five numbers."
            )
        if not 0 <= label < len(class_names):
            raise InputError(
                f"Line {number} of {path} has the class {int(label)}, but there are {len(class_names)}, from 0: "
                "correct it, or name the class."
            )
        tall, wide = size
        left, top = (x - width / 2) * wide, (y - height / 2) * tall
        rows.append((left, top, left + width * wide, top + height * tall, int(label), False, None))
    return rows

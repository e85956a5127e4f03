"""Boxes from COCO's JSON: https://cocodataset.org/#format-data."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

from keras_vit.data.boxes import make_boxes
from keras_vit.data.examples import Examples, Source
from keras_vit.data.folder import SPLIT_NAMES
from keras_vit.errors import InputError

_PARTS = ("images", "annotations", "categories")
_INSTANCES = "instances"  # of COCO's own files the ones with boxes of all things; others have captions or keypoints


def find_coco(root: Path) -> dict[str, Path]:
    """The annotation files of a folder, by split: its own, those in `annotations`, or one in each split's folder.

    A file belongs to the split that its name has as a word (`instances_train2017.json`), or that its folder is called;
    a single file is train.

    Raises:
        InputError: two files for one split.
    """
    for places in ([root], [root / "annotations"], [root / name for name in SPLIT_NAMES]):
        files = sorted(file for place in places for file in place.glob("*.json") if file.name != "classes.json")
        instances = [file for file in files if file.name.startswith(_INSTANCES)]
        files = instances or files
        named = [(_split_of(file, root), file) for file in files]
        if len(files) == 1 and named[0][0] is None:
            return {"train": files[0]}
        found: dict[str, Path] = {}
        for split, file in named:
            if split in found:
                raise InputError(f"{found[split]} and {file} are both the {split} split: keep one of them.")
            if split is not None:
                found[split] = file
        if found:
            return found
    return {}


def read_coco(files: dict[str, Path]) -> Source:
    """Reads COCO annotation files.

    Images lie beside the file, in `images` or in a folder named like the file's split there or one folder higher.
    Classes are the categories in the order of their ids, which have to be the same in all files. Boxes are x, y,
    width, height in pixels of the upright image, its corner 0, 0.

    Raises:
        InputError: broken JSON, missing parts, duplicate or unknown ids, boxes that are no four numbers, or images
            that are not there.
    """
    contents = {split: _load(path) for split, path in files.items()}
    categories: dict[int, str] = {}
    for split, path in files.items():
        for number, name in _categories(path, contents[split]).items():
            if categories.setdefault(number, name) != name:
                raise InputError(
                    f"{path} calls category {number} {name!r}, elsewhere {categories[number]!r}: make it one."
                )
    order = {number: index for index, number in enumerate(sorted(categories))}
    splits = {split: _examples(path, contents[split], order) for split, path in files.items()}
    return Source(splits, _unique([categories[number] for number in order]))


def _split_of(file: Path, root: Path) -> str | None:
    words = re.findall("[a-z]+", file.stem.lower())
    if file.parent != root:
        words.append(file.parent.name.lower())
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)


def _load(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({error}): correct it, or write it again.") from error
    for part in _PARTS:
        rows = content.get(part) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"{path} has no list {part!r}: a COCO file has {', '.join(_PARTS)}.")
    if not content["images"]:
        raise InputError(f"{path} names no images: list them, or remove the file.")
    return content


def _categories(path: Path, content: dict) -> dict[int, str]:
    found: dict[int, str] = {}
    for row in content["categories"]:
        number, name = _value(path, row, "id", int), str(_value(path, row, "name", str))
        if number in found:
            raise InputError(f"{path} has the category id {number} twice: give each category an id of its own.")
        found[number] = name
    return found


def _unique(names: list[str]) -> list[str]:
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise InputError(f"Two categories are called {doubled!r}: give each a name of its own.")
    return names


def _examples(path: Path, content: dict, order: dict[int, int]) -> Examples:
    places: dict[int | str, int] = {}
    files, sizes = [], []
    for row in content["images"]:
        number, file = _value(path, row, "id", (int, str)), _value(path, row, "file_name", str)
        if number in places:
            raise InputError(f"{path} has the image id {number} twice ({file}): give each image an id of its own.")
        places[number] = len(files)
        files.append(file)
        sizes.append([side if isinstance(side, int) else 0 for side in (row.get("height"), row.get("width"))])
    rows: list[list[tuple]] = [[] for _ in files]
    for annotation in content["annotations"]:
        number = _value(path, annotation, "image_id", (int, str))
        if number not in places:
            raise InputError(f"{path} has an annotation of the image id {number}, which no image has: correct it.")
        rows[places[number]].append(_row(path, annotation, order))
    return Examples(labels=make_boxes(rows, sizes), paths=_located(path, files))


def _row(path: Path, annotation: dict, order: dict[int, int]) -> tuple:
    """(x0, y0, x1, y1, class, crowd, area) of one annotation."""
    category = _value(path, annotation, "category_id", int)
    if category not in order:
        raise InputError(
            f"{path} has an annotation with category id {category}, which is none of its {len(order)} categories: "
            "correct the annotation, or add the category."
        )
    box, area = annotation.get("bbox"), annotation.get("area")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
        where = f"annotation {annotation.get('id')} of image id {annotation['image_id']}"
        raise InputError(f"{path} has the box {box} in {where}: make it four numbers x, y, width, height.")
    x, y, width, height = box
    crowd = bool(annotation.get("iscrowd", 0))
    return x, y, x + width, y + height, order[category], crowd, area if _is_number(area) else None


def _value(path: Path, row: dict, key: str, kind: type | tuple):
    value = row.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{path} has {key} {value!r} in {json.dumps(row)[:80]}: correct it.")
    return value


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _located(path: Path, files: list[str]) -> list[str]:
    """The image files, from the first folder that has them all."""
    words = [path.stem.split("_")[-1], *re.findall("[a-z]+", path.stem.lower())]
    nearest: list[str] | None = None
    for base in (path.parent, path.parent.parent):
        for root in (base, base / "images", *(base / w for w in words), *(base / "images" / w for w in words)):
            missing = [file for file in files if not (root / file).is_file()] if root.is_dir() else files
            if not missing:
                return [str(root / file) for file in files]
            nearest = missing if nearest is None or len(missing) < len(nearest) else nearest
    raise InputError(
        f"{path} names {len(nearest)} image(s) that are not there, the first is {nearest[0]}: put them beside it, into "
        "images/, or into a folder named like the split."
    )

"""Boxes from Pascal VOC's XML: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from keras_vit.data.boxes import make_boxes
from keras_vit.data.class_names import find_class_names
from keras_vit.data.examples import Examples, Source
from keras_vit.data.folder import SPLIT_NAMES
from keras_vit.data.pairs import check_matched, files_by_stem, images_by_stem
from keras_vit.errors import InputError, suggest

_XML, _IMAGES, _LISTS = "Annotations", "JPEGImages", Path("ImageSets", "Main")
_BOTH = "trainval"  # stands for train where there is no train.txt


def is_voc(root: Path) -> bool:
    """Whether a folder has VOC's two folders."""
    return (root / _XML).is_dir() and (root / _IMAGES).is_dir()


def read_voc(root: Path) -> Source:
    """Reads `Annotations/*.xml` and the images of the same names in `JPEGImages`.

    The splits are `ImageSets/Main/train.txt`, `val.txt` and `test.txt`, of which each line begins with a name; without
    them all is train. `trainval.txt` is train where there is no `train.txt`. Classes are those of `classes.txt` (or
    `classes.json`, `labels.txt`), else all that are found, sorted. VOC counts pixels from 1 and both ends of a box
    belong to it: its xmin, ymin, xmax, ymax are the box xmin - 1, ymin - 1, xmax, ymax here. Objects that are marked
    difficult are no targets.

    Raises:
        InputError: broken XML, files that do not match, unknown classes.
    """
    images, annotations = images_by_stem(root / _IMAGES), files_by_stem(root / _XML, {".xml"})
    if not annotations:
        raise InputError(f"{root / _XML} has no .xml files: add the annotations.")
    lists = _lists(root)
    check_matched(images, annotations, "annotation", all_needed=False)
    notes = []
    if lists is None:
        without = len(images.keys() - annotations.keys())
        notes = [f"{without} image(s) of {root} have no annotation and are left out."] if without else []
        lists = {"train": (root / _XML, list(annotations))}
    members = {split: names for split, (_, names) in lists.items()}
    for path, names in lists.values():
        missing = next((name for name in names if name not in annotations), None)
        if missing is not None:
            raise InputError(f"{path} names {missing!r}, which has no annotation: add {root / _XML / missing}.xml.")
    parsed = {name: _parse(annotations[name]) for names in members.values() for name in names}
    named, _ = find_class_names(root)
    found = sorted({row[4] for rows, _ in parsed.values() for row in rows})
    class_names = found if named is None else named
    order = {name: index for index, name in enumerate(class_names)}
    splits = {}
    for split, names in members.items():
        rows = [_numbered(annotations[name], parsed[name][0], order) for name in names]
        labels = make_boxes(rows, [parsed[name][1] for name in names])
        splits[split] = Examples(labels=labels, paths=[str(images[name]) for name in names])
    return Source(splits, class_names, notes)


def _lists(root: Path) -> dict[str, tuple[Path, list[str]]] | None:
    """The file and the names of each split, or None where no split is listed."""
    found: dict[str, Path] = {}
    for name, split in (*SPLIT_NAMES.items(), (_BOTH, "train")):
        path = root / _LISTS / f"{name}.txt"
        if path.is_file():
            found.setdefault(split, path)
    if not found:
        return None
    return {
        split: (path, [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()])
        for split, path in found.items()
    }


def _parse(path: Path) -> tuple[list[tuple], tuple[int, int]]:
    """Rows (x0, y0, x1, y1, class name, difficult, None) of an annotation file, and height and width or (0, 0)."""
    tree = _read_xml(path)
    rows = []
    for item in tree.findall("object"):
        name = (item.findtext("name") or "").strip()
        left, top, right, bottom = (_number(item, f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax"))
        if not name or not all(map(math.isfinite, (left, top, right, bottom))):
            raise InputError(
                f"Object {len(rows) + 1} of {path} lacks a name or has no four numbers in its bndbox: correct it."
            )
        difficult = (item.findtext("difficult") or "0").strip() == "1"
        rows.append((left - 1, top - 1, right, bottom, name, difficult, None))
    height, width = (_number(tree, f"size/{side}") for side in ("height", "width"))
    known = math.isfinite(height) and math.isfinite(width)
    return rows, (int(height), int(width)) if known else (0, 0)


def _number(element: ElementTree.Element, path: str) -> float:
    """The number at a path under an element, NaN where there is none."""
    try:
        return float(element.findtext(path) or math.nan)
    except ValueError:
        return math.nan


def _read_xml(path: Path) -> ElementTree.Element:
    content = path.read_bytes()

    def refuse(*_):
        raise InputError(f"{path} declares a document type, which may hide a bomb: remove its DOCTYPE.")

    guard = expat.ParserCreate()
    guard.StartDoctypeDeclHandler = refuse
    try:
        guard.Parse(content, True)
        return ElementTree.fromstring(content)
    except (expat.ExpatError, ElementTree.ParseError, LookupError) as error:
        raise InputError(f"{path} is no readable XML ({error}): correct it.") from error


def _numbered(path: Path, rows: list[tuple], order: dict[str, int]) -> list[tuple]:
    for row in rows:
        if row[4] not in order:
            raise InputError(
                f"{path} has an object of the class {row[4]!r}, which is unknown: {suggest(row[4], order)}"
            )
    return [(*row[:4], order[row[4]], *row[5:]) for row in rows]

"""Files that say what the classes of masks or boxes are called."""

from __future__ import annotations

import json
from pathlib import Path

from keras_vit.errors import InputError

_JSON = "classes.json"
_TEXT = ("classes.txt", "labels.txt")


def find_class_names(root: Path) -> tuple[list[str] | None, int | None]:
    """The names in `classes.json`, `classes.txt` or `labels.txt` of a folder.

    `classes.json` is a list of names, or has it as "classes" and may say which number is no class as "ignore_index";
    a text file has one name a line. The number of a class is its place, from 0.

    Returns:
        The names, None where there is no such file; and the ignored number, or None.

    Raises:
        InputError: the file is not so.
    """
    if (root / _JSON).is_file():
        return _from_json(root / _JSON)
    for name in _TEXT:
        if (root / name).is_file():
            lines = _text(root / name).splitlines()
            return _checked(root / name, [line.strip() for line in lines if line.strip()]), None
    return None, None


def _from_json(path: Path) -> tuple[list[str], int | None]:
    try:
        content = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is no JSON ({error}): correct it.") from error
    names, ignored = content, None
    if isinstance(content, dict):
        names, ignored = content.get("classes"), content.get("ignore_index")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f'{path} has no list of class names: write ["sky", ...] or {{"classes": ["sky", ...]}}.')
    if ignored is not None and (not isinstance(ignored, int) or isinstance(ignored, bool)):
        raise InputError(f"ignore_index of {path} is {ignored!r}: make it a whole number.")
    return _checked(path, names), ignored


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no UTF-8 text ({error.reason}): save it as UTF-8.") from error


def _checked(path: Path, names: list[str]) -> list[str]:
    if not names:
        raise InputError(f"{path} names no classes: write one name each.")
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise InputError(f"{path} names the class {doubled!r} twice: give each class a name of its own.")
    return names

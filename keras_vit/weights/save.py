"""Writes a model's weights in another library's own form."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_vit.errors import InputError, suggest
from keras_vit.files import atomic
from keras_vit.weights.architecture import Architecture, describe, variables_of
from keras_vit.weights.dialects import DIALECTS
from keras_vit.weights.dialects.dialect import Dialect
from keras_vit.weights.formats import FORMATS
from keras_vit.weights.formats.checkpoint import metadata_of
from keras_vit.weights.formats.values import reason

WEIGHTS_FILE = "model.safetensors"


def save(model: keras.Model, path: str | os.PathLike, dialect: str = "timm") -> Path:
    """Writes `model.safetensors` and the configuration files that the other library wants into a folder.

    What comes of it: `timm.create_model("local-dir:FOLDER", pretrained=True)`, or
    `transformers.AutoModel.from_pretrained(FOLDER)`. The other library takes pixels that the preprocessing record
    (in the configuration) has normalised; the model here normalises by itself.

    Args:
        model: made by `keras_vit.build`, trained or not.
        path: a folder, made where it is missing. Files of these names in it are replaced, all of them or none.
        dialect: `timm` or `huggingface`.

    Returns:
        The folder.

    Raises:
        InputError: an unknown dialect, a model or a preprocessing that the other library has not, the name of a file,
            or a folder that cannot be written.
    """
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise InputError(f"Weights are written into a folder: give its path, not {path!r}.")
    folder = Path(path).expanduser()
    if folder.suffix in FORMATS:
        raise InputError(f"{path} is called like a file, and a folder is written: give {folder.with_suffix('')}.")
    written = {name: each for name, each in DIALECTS.items() if each.configs}
    if dialect not in written:
        raise InputError(f"Weights cannot be written as {dialect!r}: {suggest(dialect, written)}")
    architecture = describe(model)
    _check(model, architecture, dialect)
    files = written[dialect].configs(architecture)
    arrays = to_dialect(model, architecture, written[dialect])
    return _write(folder, arrays, files, metadata_of(architecture))


def _check(model: keras.Model, architecture: Architecture, dialect: str) -> None:
    if not architecture.pooling:
        raise InputError(
            f"{dialect} knows no Vision Transformer with the head of {model.name}: classifiers and encoders can be "
            "written, any other model with model.save('model.keras')."
        )
    if architecture.preprocessing and architecture.preprocessing.fit == "pad":
        raise InputError(
            f"{dialect} does not fill images up at the right and at the bottom, as fit='pad' does: build {model.name} "
            "with a preprocessing record of fit='crop' or 'squash'."
        )


def to_dialect(model: keras.Model, architecture: Architecture, dialect: Dialect) -> dict[str, np.ndarray]:
    """A model's arrays under another library's names and in its layout.

    Raises:
        InputError: the dialect has no name for some variable.
    """
    ours = variables_of(model)
    arrays, done = {}, set()
    for row in dialect.rows(architecture):
        if row.theirs and done.isdisjoint(row.ours) and all(path in ours for path in row.ours):
            written = row.write([ops.convert_to_numpy(ours[path]) for path in row.ours])
            arrays |= {name: np.ascontiguousarray(a) for name, a in zip(row.theirs, written, strict=True)}
            done.update(row.ours)
    left = sorted(ours.keys() - done)
    if left:
        raise InputError(f"{dialect.name} has no name for {', '.join(left[:3])} of {model.name}.")
    return arrays


def _write(folder: Path, arrays: Mapping[str, np.ndarray], files: Mapping[str, dict], metadata: dict) -> Path:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    needed = sum(array.nbytes for array in arrays.values())
    parent = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not parent.is_dir():
        raise InputError(f"{folder} cannot be written: {parent} is a file, choose a folder.")
    if shutil.disk_usage(parent).free < needed:
        raise InputError(f"{folder} cannot be written: {needed / 1e6:.0f} MB are needed and not free there.")
    # All are written before any is moved into place. The weights are moved last.
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(atomic(folder / WEIGHTS_FILE))
        try:
            # "pt" is the format mark that timm and transformers look for.
            save_file(dict(arrays), temporary, metadata={"format": "pt", **metadata})
        except SafetensorError as error:
            raise InputError(
                f"{folder} cannot be written ({reason(error)}): choose a folder that you may write to, with free space."
            ) from error
        for name, content in files.items():
            temporary = stack.enter_context(atomic(folder / name))
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"{folder}: {', '.join([WEIGHTS_FILE, *files])}")
    return folder

"""Array data: .npz files and scikit-learn's digits."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from keras_vit.data.examples import Examples, Source
from keras_vit.data.folder import SPLIT_NAMES
from keras_vit.errors import InputError

_KEYS = (("x_{}", "y_{}"), ("{}_images", "{}_labels"), ("{}_x", "{}_y"))
_WHOLE = (("x", "y"), ("images", "labels"))


def read_digits() -> Source:
    """scikit-learn's 1797 handwritten digits, 8x8 grey, their 17 levels spread over 0..255.

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    return Source({"train": Examples(labels=digits.target, images=images)}, [str(name) for name in digits.target_names])


def read_npz(path: Path) -> Source:
    """Reads `x_train, y_train[, x_val, y_val][, x_test, y_test][, class_names]`, or MedMNIST's `train_images, ...`.

    Args:
        path: the file; images are (n, H, W) or (n, H, W, 1 | 3 | 4) whole numbers 0..255, labels (n,) or (n, 1).

    Raises:
        InputError: no numpy archive, no such arrays, wrong shapes, types or values.
    """
    arrays, class_names = read_arrays(path)
    splits = {split: _examples(path, *found) for split, found in arrays.items()}
    if class_names is None:
        highest = max((int(examples.labels.max()) for examples in splits.values() if len(examples)), default=-1)
        class_names = [str(label) for label in range(highest + 1)]
    return Source(splits, class_names)


def read_arrays(path: Path) -> tuple[dict[str, tuple[str, np.ndarray, str, np.ndarray]], list[str] | None]:
    """The arrays of each split as (name, images uint8, name, labels as they are), and the class names if it has any.

    Raises:
        InputError: no numpy archive, no such arrays, or images of wrong shape, type or values.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no readable .npz of plain arrays ({error}): save it with numpy.savez.") from error
    pairs = [(x.format(name), y.format(name), split) for name, split in SPLIT_NAMES.items() for x, y in _KEYS]
    pairs += [(x, y, "train") for x, y in _WHOLE]
    found: dict[str, tuple[str, np.ndarray, str, np.ndarray]] = {}
    for x, y, split in pairs:
        if x not in arrays or split in found:
            continue
        if y not in arrays:
            raise InputError(f"{path} has {x} but no {y}: add the labels.")
        found[split] = x, _pixels(path, x, arrays[x]), y, arrays[y]
    if not found:
        held = ", ".join(arrays) or "nothing"
        raise InputError(f"{path} holds {held}, but no images and labels: name the arrays x_train, y_train and so on.")
    names = arrays.get("class_names")
    return found, None if names is None else [str(name) for name in names.tolist()]


def _pixels(path: Path, x: str, images: np.ndarray) -> np.ndarray:
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] not in (1, 3, 4)):
        raise InputError(f"{x} of {path} has shape {images.shape}: make it (n, H, W) or (n, H, W, 1 | 3 | 4).")
    if images.dtype != np.uint8:
        numeric = np.issubdtype(images.dtype, np.number)
        if not numeric or images.size == 0 or images.min() < 0 or images.max() > 255 or (images % 1 != 0).any():
            raise InputError(
                f"{x} of {path} is {images.dtype} and not whole numbers 0..255: scale it and save as uint8."
            )
        images = images.astype(np.uint8)
    return images


def _examples(path: Path, x: str, images: np.ndarray, y: str, labels: np.ndarray) -> Examples:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{y} of {path} is {labels.dtype} of shape {labels.shape}: make it one whole number an image.")
    if len(images) != len(labels):
        raise InputError(f"{path} has {len(images)} images in {x} and {len(labels)} labels in {y}: make them match.")
    return Examples(labels=labels, images=images)

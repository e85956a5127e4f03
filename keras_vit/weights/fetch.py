"""Where weights come from: a path, a URL or a Hugging Face repository, all turned into a local path."""

from __future__ import annotations

import os
from pathlib import Path

from keras_vit.errors import InputError
from keras_vit.weights.download import download
from keras_vit.weights.hub import repository, snapshot


def fetch(source: str | os.PathLike) -> Path:
    """The local file or folder behind a source of weights; what is not on this machine is downloaded once.

    Downloads stay in the folder `KERAS_VIT_HOME` (`~/.cache/keras_vit` by default). With `KERAS_VIT_OFFLINE=1` or
    `HF_HUB_OFFLINE=1` only what is there already is used.

    Args:
        source: one of
            `"hf:owner/name"` or `"hf:owner/name@revision"`, a Hugging Face repository (gives a folder);
            `"https://..."` or `"http://..."`, a file, optionally ending with `#sha256=` and its checksum;
            a path of a file or folder, where `~` is the home folder.

    Returns:
        Path of a file, or of a folder with `config.json` and the weights.

    Raises:
        InputError: there is no such thing, it may not be read, the disk is full, or it is missing while offline.
        Failure: the network broke off, or a checksum is wrong.
    """
    if not isinstance(source, (str, os.PathLike)) or not os.fspath(source):
        raise InputError(f"Weights come from a path, https://... or hf:owner/name, not from {source!r}.")
    if isinstance(source, str):
        if source.lower().startswith(("http://", "https://")):
            return download(source)
        if source.startswith("hf:"):
            return snapshot(*repository(source))
    try:
        path = Path(source).expanduser()
    except RuntimeError:
        raise InputError(f"The home folder in {source} is not known: give the path in full.") from None
    # Unlike `Path.exists`, this takes a name that no file can have, or a folder that may not be looked into.
    if not os.path.exists(path):
        raise InputError(
            f"There is no file or folder {path}: give a path that exists, a URL (https://...) or a Hugging Face "
            "repository (hf:owner/name)."
        )
    return path

"""`.pth`, `.pt` and `.bin`: PyTorch's own files, opened so that nothing but arrays is unpickled."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from keras_vit.errors import InputError
from keras_vit.weights.formats.checkpoint import Checkpoint
from keras_vit.weights.formats.values import reason

WRAPPERS = ("state_dict_ema", "model_ema", "model", "module", "state_dict", "teacher", "encoder")
"""Keys under which training scripts keep the weights beside optimizers and arguments; averaged weights first, DINO's
teacher rather than its student, I-JEPA's encoder rather than its predictor."""
OLDEST_TORCH = (2, 6)
"""Before it, a file could break out of `weights_only` (CVE-2025-32434)."""
ZIP = b"PK\x03\x04"
CONVERT = (
    'python -c "import torch, safetensors.torch as s; '
    "w = torch.load('{file}', map_location='cpu', weights_only=True); "
    "s.save_file({{k: v.clone() for k, v in w.get('model', w).items() if torch.is_tensor(v)}}, '{stem}.safetensors')\""
)


def open_torch(path: Path) -> Checkpoint:
    """Opens a file of `torch.save`, by mapping it into memory where it is of the zip kind.

    Raises:
        InputError: torch is missing or too old, the file is damaged, it holds something that would have to be
            executed, or no arrays.
    """
    torch = _import_torch(path)
    with path.open("rb") as file:
        mappable = file.read(len(ZIP)) == ZIP
    try:
        # DeiT, MAE, DINO and BEiT have the arguments of their training beside the weights.
        with torch.serialization.safe_globals([argparse.Namespace]):
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mappable)
        arrays = {
            name: _array(torch, name, tensor)
            for name, tensor in _peel(loaded).items()
            if isinstance(name, str) and isinstance(tensor, torch.Tensor)
        }
    except Exception as error:  # Damaged bytes make torch raise nearly anything.
        raise InputError(
            f"{path} is not a readable PyTorch file of arrays ({_reason(error)}): fetch it again, or get the same "
            "weights as .safetensors."
        ) from None
    if not arrays:
        raise InputError(f"{path} holds no named arrays: save the model's state_dict() in it.")
    return Checkpoint(path, {name: array.shape for name, array in arrays.items()}, arrays.__getitem__)


def _import_torch(path: Path) -> Any:
    convert = CONVERT.format(file=path.name, stem=path.stem)
    try:
        import torch
    except ImportError:
        raise InputError(
            f"Reading {path.name} needs PyTorch: pip install torch, or convert it where PyTorch is installed: {convert}"
        ) from None
    version = tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2])
    if version < OLDEST_TORCH:
        raise InputError(
            f"PyTorch {torch.__version__} can be made to execute code by a file such as {path.name}: "
            f"pip install 'torch>={'.'.join(map(str, OLDEST_TORCH))}', or convert it elsewhere: {convert}"
        )
    return torch


def _peel(loaded: Any) -> Mapping:
    """The innermost dictionary of weights."""
    # Bounded, because a dictionary in a pickle can hold itself.
    for _ in WRAPPERS:
        if not isinstance(loaded, Mapping):
            return {}
        inner = [loaded[key] for key in WRAPPERS if isinstance(loaded.get(key), Mapping)]
        if not inner:
            break
        loaded = inner[0]
    return loaded


def _array(torch: Any, name: str, tensor: Any) -> np.ndarray:
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        raise ValueError(f"{name} is said to have the shape {tuple(tensor.shape)}, which does not lie within the file")
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    array = tensor.numpy()
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} has the type {array.dtype}, which no ViT has")
    return array


def _reason(error: Exception) -> str:
    unknown = re.search(r"GLOBAL (\S+)", str(error))
    return reason(ValueError(f"it asks for {unknown[1]}, and nothing in it is executed") if unknown else error)

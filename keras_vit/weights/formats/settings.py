"""What the configuration files in a folder say about the weights beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_vit.errors import InputError
from keras_vit.preprocessing import INTERPOLATIONS, Preprocessing
from keras_vit.variants import parse
from keras_vit.weights import catalogue

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
}
"""timm's and transformers' word -> ours. SiLU is left out: it is a gate's, and gated MLPs have no other."""
RESAMPLE = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers."""

Size = tuple[int, int]


def read_json(path: Path) -> dict:
    """A JSON object from a file, empty where there is no file.

    Raises:
        InputError: the file is not a JSON object.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}): fetch it again, or take it out of the folder.") from None
    return content


def read_settings(folder: Path) -> dict[str, str]:
    """Image size, preprocessing and activation of a checkpoint, from timm's or Hugging Face's files.

    Args:
        folder: with a `config.json` (and a `preprocessor_config.json`), or without.

    Returns:
        Metadata of a `Checkpoint`; what the files do not say is left out.

    Raises:
        InputError: a file that is no JSON object, or whose values are not of the kind they should be.
    """
    path = folder / "config.json"
    config = read_json(path)
    try:
        if "architecture" in config:
            size, record = _timm(config)
            activation = _timm_activation(config)
        else:
            size = _huggingface_size(config)
            activation = ACTIVATIONS.get(config.get("vision_config", config).get("hidden_act"))
            path = folder / "preprocessor_config.json"
            record = _huggingface_record(read_json(path))
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, ZeroDivisionError) as error:
        raise InputError(f"{path} has values that cannot be used ({error!r}): correct it, or take it away.") from None
    said = {"image_size": "{} {}".format(*size)} if size else {}
    said |= {"activation": activation} if activation else {}
    return said | ({"preprocessing": json.dumps(record.to_dict())} if record else {})


def _timm(config: Mapping) -> tuple[Size, Preprocessing]:
    # Files of older versions have the settings of `pretrained_cfg` beside `architecture`.
    settings = config.get("pretrained_cfg", config)
    size = _sides(settings["input_size"][1:])
    record = Preprocessing(
        image_size=size,
        mean=_floats(settings["mean"]),
        std=_floats(settings["std"]),
        crop=float(settings["crop_pct"]),
        interpolation=_known(settings.get("interpolation")),
        fit="squash" if settings.get("crop_mode") == "squash" else "crop",
    )
    built_for = config.get("model_args", {}).get("img_size")
    return _sides(built_for) if built_for else size, record


def _timm_activation(config: Mapping) -> str | None:
    """What the settings say, or else the family that the catalogue has timm's architecture in."""
    said = config.get("model_args", {}).get("act_layer")
    if said:
        return ACTIVATIONS.get(said)
    ours = catalogue.from_timm(config["architecture"])
    return parse(ours).family.activation if ours else None


def _huggingface_size(config: Mapping) -> Size | None:
    # CLIP and SigLIP in whole have the image model's settings in `vision_config`.
    said = config.get("vision_config", config).get("image_size")
    return _sides(said) if said else None


def _huggingface_record(settings: Mapping) -> Preprocessing | None:
    if "image_mean" not in settings or "size" not in settings:
        return None
    mean, std = _floats(settings["image_mean"]), _floats(settings["image_std"])
    if not settings.get("do_normalize", True):
        mean, std = (0.0,) * len(mean), (1.0,) * len(std)
    resized, fit = _resized(settings)
    size = _sides(settings["crop_size"]) if settings.get("do_center_crop") else resized
    return Preprocessing(
        image_size=size,
        mean=mean,
        std=std,
        crop=min(max(size) / max(resized), 1.0),
        interpolation=_known(RESAMPLE.get(settings.get("resample"))),
        fit=fit,
    )


def _resized(settings: Mapping) -> tuple[Size, str]:
    """(H, W) before the crop, and how an image is fitted to it."""
    size = settings["size"]
    if isinstance(size, Mapping):
        return (_sides(size["shortest_edge"]), "crop") if "shortest_edge" in size else (_sides(size), "squash")
    # The number of old files is the shorter side where a crop follows, both sides where none does.
    return _sides(size), "crop" if settings.get("do_center_crop") else "squash"


def _sides(value: int | Sequence[int] | Mapping[str, int]) -> Size:
    """(H, W) from a number, a pair, or a mapping with `height` and `width`."""
    if isinstance(value, Mapping):
        value = value["height"], value["width"]
    height, width = (value, value) if isinstance(value, int) else value
    if not all(isinstance(side, int) and side > 0 for side in (height, width)):
        raise ValueError(f"{height!r} x {width!r} pixels")
    return height, width


def _floats(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _known(interpolation: str | None) -> str:
    """Bicubic stands for the others (Lanczos, timm's `random`), whose outputs are nearest to it."""
    return interpolation if interpolation in INTERPOLATIONS else "bicubic"

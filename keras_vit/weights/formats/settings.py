"""What the configuration files in a folder say about the weights beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from keras_vit.errors import InputError
from keras_vit.preprocessing import INTERPOLATIONS, Preprocessing
from keras_vit.variants import parse
from keras_vit.weights import catalogue
from keras_vit.weights.formats.values import UNUSABLE, Size, numbers, reason, sides

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
}
"""timm's and transformers' word -> ours. SiLU is left out: it is a gate's, and gated MLPs have no other."""
UNSAID_ACTIVATIONS = {
    "clip": "quick_gelu",
    "clip_vision_model": "quick_gelu",
    "siglip": "gelu_tanh",
    "siglip_vision_model": "gelu_tanh",
}
"""transformers' `model_type` -> what its class takes where the configuration says nothing, and that is not `gelu`."""
POOLINGS = {"vit": "token", "deit": "token", "ijepa": "avg"}
"""transformers' `model_type` -> what its classifier sees, where there is no choice."""
RESAMPLE = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers."""
LARGEST_FILE = 50_000_000
"""Bytes of JSON; an index of ten thousand arrays takes one."""


def read_json(path: Path) -> dict:
    """A JSON object from a file, empty where there is no file.

    Raises:
        InputError: the file is not a JSON object.
    """
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError("it is larger than any such file")
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
    except (*UNUSABLE, OSError) as error:
        raise InputError(
            f"{path} cannot be read ({reason(error)}): fetch it again, or take it out of the folder."
        ) from None
    return content


def read_settings(folder: Path) -> dict[str, str]:
    """What timm's or Hugging Face's files say of a checkpoint: image size, preprocessing, and what no array shows.

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
            said = _timm_network(config)
        else:
            # CLIP and SigLIP in whole have the image model's settings in `vision_config`.
            network = config.get("vision_config", config)
            size = sides(network["image_size"]) if network.get("image_size") else None
            said = _huggingface_network(network)
            path = folder / "preprocessor_config.json"
            record = _huggingface_record(read_json(path))
    except UNUSABLE as error:
        raise InputError(
            f"{path} has values that cannot be used ({type(error).__name__}: {reason(error)}): correct it, or take it "
            "away."
        ) from None
    said |= {"image_size": "{} {}".format(*size)} if size else {}
    return said | ({"preprocessing": json.dumps(record.to_dict())} if record else {})


def _timm(config: Mapping) -> tuple[Size, Preprocessing]:
    # Files of older versions have the settings of `pretrained_cfg` beside `architecture`.
    settings = config.get("pretrained_cfg", config)
    size = sides(settings["input_size"][1:])
    record = Preprocessing(
        image_size=size,
        mean=numbers(settings["mean"]),
        std=numbers(settings["std"]),
        crop=float(settings["crop_pct"]),
        interpolation=_known(settings.get("interpolation")),
        fit="squash" if settings.get("crop_mode") == "squash" else "crop",
    )
    built_for = config.get("model_args", {}).get("img_size")
    return sides(built_for) if built_for else size, record


def _timm_network(config: Mapping) -> dict[str, str]:
    """What the settings say, or else the architecture that the catalogue has timm's under."""
    ours = catalogue.from_timm(config["architecture"])
    variant = parse(ours) if ours else None
    said = {
        "activation": variant and variant.family.activation,
        "num_heads": variant and variant.size.num_heads,
        "norm_epsilon": variant and variant.family.norm_epsilon,
        "pooling": config.get("global_pool") or (variant and variant.family.pooling),
    }
    arguments = config.get("model_args", {})
    if "act_layer" in arguments:
        said["activation"] = ACTIVATIONS.get(arguments["act_layer"])
    if "num_heads" in arguments:
        said["num_heads"] = int(arguments["num_heads"])
    if "global_pool" in arguments:
        said["pooling"] = arguments["global_pool"]
    return _as_text(said)


def _huggingface_network(network: Mapping) -> dict[str, str]:
    kind = network.get("model_type")
    pooling = POOLINGS.get(kind)
    if kind == "beit":
        pooling = "avg" if network.get("use_mean_pooling", True) else "token"
    activation = network.get("hidden_act")
    said = {
        "activation": ACTIVATIONS.get(activation) if activation else UNSAID_ACTIVATIONS.get(kind),
        "num_heads": int(network["num_attention_heads"]) if "num_attention_heads" in network else None,
        "norm_epsilon": float(network["layer_norm_eps"]) if "layer_norm_eps" in network else None,
        "pooling": pooling,
    }
    return _as_text(said)


def _as_text(said: Mapping[str, str | float | None]) -> dict[str, str]:
    return {name: str(value) for name, value in said.items() if value is not None}


def _huggingface_record(settings: Mapping) -> Preprocessing | None:
    if "image_mean" not in settings or "size" not in settings:
        return None
    mean, std = numbers(settings["image_mean"]), numbers(settings["image_std"])
    if not settings.get("do_normalize", True):
        mean, std = (0.0,) * len(mean), (1.0,) * len(std)
    resized, fit = _resized(settings)
    size = sides(settings["crop_size"]) if settings.get("do_center_crop") else resized
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
        return (sides(size["shortest_edge"]), "crop") if "shortest_edge" in size else (sides(size), "squash")
    # The number of old files is the shorter side where a crop follows, both sides where none does.
    return sides(size), "crop" if settings.get("do_center_crop") else "squash"


def _known(interpolation: str | None) -> str:
    """Bicubic stands for the others (Lanczos, timm's `random`), whose outputs are nearest to it."""
    return interpolation if interpolation in INTERPOLATIONS else "bicubic"

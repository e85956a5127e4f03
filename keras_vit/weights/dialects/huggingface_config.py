"""transformers' `config.json` and `preprocessor_config.json` for a model of ours."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing
from keras_vit.weights.architecture import Architecture

ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh", "quick_gelu": "quick_gelu"}
"""Ours -> theirs."""
RESAMPLE = {"bilinear": 2, "bicubic": 3}
"""Interpolation -> Pillow's number for it."""


@dataclass(frozen=True)
class Model:
    """How transformers packs a family.

    Attributes:
        type: its `model_type`.
        base: the class that returns features.
        classifier: the class with a classifier; None where there is none.
        classifies: the poolings that this class knows.
        classifier_prefix: stands before the encoder's names in a file with a classifier.
        base_prefix: the same without one.
        settings: what `config.json` says beyond sizes, for an architecture.
        classes: the key of the number of classes.
        nested: `model_type` of the class with a classifier, where its configuration holds this one's as
            `vision_config`.
        rectangles: whether images may be rectangles.
        registers: whether there may be any number of registers.
    """

    type: str
    base: str
    classifier: str | None
    classifies: tuple[str, ...]
    classifier_prefix: str
    settings: Callable[[Architecture], dict]
    base_prefix: str = ""
    classes: str = "num_labels"
    nested: str | None = None
    rectangles: bool = True
    registers: bool = False

    def prefix(self, architecture: Architecture) -> str:
        """What stands before the names of the encoder's arrays."""
        return self.classifier_prefix if architecture.num_classes else self.base_prefix


def _vit(architecture: Architecture) -> dict:
    # A linear pooler's output is the class token: see `_constants` of the dialect.
    return {"qkv_bias": True, "pooler_act": "linear", "pooler_output_size": architecture.variant.size.width}


def _dinov2(architecture: Architecture) -> dict:
    gated = architecture.variant.size.gated
    return {"qkv_bias": True, "mlp_ratio": 4, "use_swiglu_ffn": gated, "layerscale_value": 1.0}


def _dinov2_reg(architecture: Architecture) -> dict:
    return {**_dinov2(architecture), "num_register_tokens": architecture.registers}


def _dinov3(architecture: Architecture) -> dict:
    gated = architecture.variant.size.gated
    return {
        # Its gate has the activation of the MLP that it stands for, DINOv2's is SiLU in any case.
        **({"hidden_act": "silu"} if gated else {}),
        "num_register_tokens": architecture.registers,
        "use_gated_mlp": gated,
        "query_bias": True,
        "key_bias": False,
        "value_bias": True,
        "proj_bias": True,
        "mlp_bias": True,
        "rope_theta": 100.0,
        "layerscale_value": architecture.variant.family.layer_scale,
    }


def _beit(architecture: Architecture) -> dict:
    return {
        "use_mask_token": False,
        "use_absolute_position_embeddings": False,
        "use_relative_position_bias": True,
        "use_shared_relative_position_bias": False,
        "use_mean_pooling": architecture.norm_after_pooling,
        "layer_scale_init_value": architecture.variant.family.layer_scale,
    }


VIT = Model("vit", "ViTModel", "ViTForImageClassification", ("token",), "vit.", _vit)
CLIP = Model(
    "clip_vision_model",
    "CLIPVisionModel",
    "CLIPVisionModelWithProjection",
    ("token",),
    "vision_model.",
    lambda architecture: {},
    base_prefix="vision_model.",
    classes="projection_dim",
    rectangles=False,
)
BEIT = Model("beit", "BeitModel", "BeitForImageClassification", ("token", "avg"), "beit.", _beit, rectangles=False)
MODELS = {
    "vit": VIT,
    "deit": VIT,
    # ViTMAEModel drops three quarters of the patches at random, so the encoder goes out as the plain ViT that it is.
    "mae": VIT,
    "dino": VIT,
    "flexivit": VIT,
    "deit_distilled": Model("deit", "DeiTModel", "DeiTForImageClassificationWithTeacher", ("token",), "deit.", _vit),
    "dinov2": Model(
        "dinov2",
        "Dinov2Model",
        "Dinov2ForImageClassification",
        ("token", "avg"),
        "dinov2.",
        _dinov2,
        rectangles=False,
    ),
    "dinov2_reg": Model(
        "dinov2_with_registers",
        "Dinov2WithRegistersModel",
        "Dinov2WithRegistersForImageClassification",
        ("token", "avg"),
        "dinov2_with_registers.",
        _dinov2_reg,
        rectangles=False,
        registers=True,
    ),
    "dinov3": Model("dinov3_vit", "DINOv3ViTModel", None, (), "", _dinov3, registers=True),
    "clip": CLIP,
    "openclip": CLIP,
    "siglip": Model(
        "siglip_vision_model",
        "SiglipVisionModel",
        "SiglipForImageClassification",
        ("avg",),
        "vision_model.",
        lambda architecture: {"vision_use_head": architecture.pooling == "map"},
        base_prefix="vision_model.",
        nested="siglip",
        rectangles=False,
    ),
    "beit": BEIT,
    "beitv2": BEIT,
    "ijepa": Model(
        "ijepa", "IJepaModel", "IJepaForImageClassification", ("avg",), "ijepa.", lambda _: {"qkv_bias": True}
    ),
}
"""Family -> transformers' model. A position table in DINOv2 is taken for a square one, CLIP and SigLIP count patches by
one side, and BEiT exchanges the sides of its bias table: they cannot have rectangles."""


def model_of(architecture: Architecture) -> Model:
    """transformers' model of a family.

    Raises:
        InputError: there is none.
    """
    family = architecture.variant.family_name
    if family not in MODELS:
        raise InputError(
            f"transformers has no model of the family {family}: {architecture.variant.name} can be read and written "
            "with timm's names."
        )
    return MODELS[family]


def configs(architecture: Architecture) -> dict[str, dict]:
    """The two configuration files that transformers reads beside the weights.

    Raises:
        InputError: transformers has no class for this model.
    """
    model = model_of(architecture)
    _check(model, architecture)
    variant, size = architecture.variant, architecture.variant.size
    height, width = architecture.image_size
    config = {
        "model_type": model.type,
        "hidden_size": size.width,
        "num_hidden_layers": architecture.depth,
        "num_attention_heads": size.num_heads,
        "intermediate_size": size.mlp_dim,
        "hidden_act": ACTIVATIONS[variant.family.activation],
        "layer_norm_eps": variant.family.norm_epsilon,
        "image_size": height if height == width else [height, width],
        "patch_size": variant.patch,
        "num_channels": architecture.channels,
        "initializer_range": 0.02,
        **model.settings(architecture),
    }
    classes = {model.classes: architecture.num_classes} if architecture.num_classes else {}
    if classes and model.nested:
        config = {"model_type": model.nested, "vision_config": config}
    config = {"architectures": [model.classifier if classes else model.base], **config, **classes}
    record = architecture.preprocessing or variant.family.preprocessing.fitted(
        architecture.image_size, architecture.channels
    )
    return {"config.json": config, "preprocessor_config.json": _preprocessor(record)}


def _check(model: Model, architecture: Architecture) -> None:
    name, family = architecture.variant.name, architecture.variant.family
    height, width = architecture.image_size
    if architecture.class_token != family.class_token or not (
        architecture.registers == family.registers or (model.registers and architecture.registers)
    ):
        raise InputError(
            f"transformers' {model.base} has other tokens before the patches than this {name}: leave class_token and "
            "registers as the family has them, or save with dialect='timm'."
        )
    if height != width and not model.rectangles:
        raise InputError(
            f"transformers' {model.base} takes square images only, not {height} x {width}: save with dialect='timm'."
        )
    if architecture.num_classes and architecture.pooling not in model.classifies:
        known = f"pools with {' or '.join(model.classifies)}" if model.classifies else "has no class with a classifier"
        raise InputError(
            f"transformers' {model.classifier or model.base} {known}, this {name} classifies after "
            f"pooling={architecture.pooling!r}: save with dialect='timm'."
        )


def _preprocessor(record: Preprocessing) -> dict:
    """CLIP's image processor, the one that resizes, crops and normalises by what it is told."""
    height, width = record.image_size
    sides = [math.floor(side / record.crop) for side in (height, width)]
    squash = {"height": sides[0], "width": sides[1]}
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        # Of a rectangle, the shorter side of the photograph has to cover the longer side of the crop.
        "size": squash if record.fit == "squash" else {"shortest_edge": max(sides)},
        "resample": RESAMPLE[record.interpolation],
        "do_center_crop": True,
        "crop_size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(record.mean),
        "image_std": list(record.std),
        "do_convert_rgb": len(record.mean) == 3,
    }

"""timm's `config.json` for a model of ours: the architecture spelled out, so that `create_model` builds the same."""

from __future__ import annotations

from keras_vit.errors import InputError
from keras_vit.weights.architecture import Architecture

GIANT = "vit_giant_patch14_dinov2"
"""The only DINOv2 with a gated MLP, which is a class and cannot be written into a configuration."""

BASES = {
    "vit": "vit_base_patch16_224",
    "deit": "deit_base_patch16_224",
    "deit_distilled": "deit_base_distilled_patch16_224",
    "deit3": "deit3_base_patch16_224",
    "mae": "vit_base_patch16_224",
    "dino": "vit_base_patch16_224",
    "dinov2": "vit_base_patch14_dinov2",
    "dinov2_reg": "vit_base_patch14_reg4_dinov2",
    "dinov3": "vit_base_patch16_dinov3_qkvb",
    "clip": "vit_base_patch16_clip_quickgelu_224",
    "openclip": "vit_base_patch16_clip_224",
    "siglip": "vit_base_patch16_siglip_224",
    "vit_reg": "vit_medium_patch16_reg4_gap_256",
    "vit_gap": "vit_medium_patch16_gap_256",
    "ijepa": "vit_huge_patch14_gap_224",
    "beit": "beit_base_patch16_224",
    "beitv2": "beitv2_base_patch16_224",
    "eva02": "eva02_base_patch14_224",
    "flexivit": "flexivit_base",
}
"""Family -> the architecture of timm whose settings it shares; sizes are written over it."""

EVA = ("eva02", "dinov3")
BEIT = ("beit", "beitv2")


def configs(architecture: Architecture) -> dict[str, dict]:
    """`config.json` as `timm.create_model("local-dir:...")` reads it.

    Raises:
        InputError: timm's class of this family lacks the pooling.
    """
    variant = architecture.variant
    if variant.family_name in BEIT and architecture.pooling == "map":
        raise InputError(f"timm has no {variant.family_name} with attention pooling: it cannot be written for timm.")
    if variant.family.distilled and architecture.pooling != "token":
        raise InputError("timm's distilled DeiT reads its two tokens: build with pooling='token' to write it for timm.")
    record = architecture.preprocessing or variant.family.preprocessing
    gated = variant.family_name in ("dinov2", "dinov2_reg") and variant.size.gated
    return {
        "config.json": {
            "architecture": GIANT if gated else BASES[variant.family_name],
            "num_classes": architecture.num_classes,
            "num_features": variant.size.width,
            "model_args": _arguments(architecture),
            "pretrained_cfg": {
                "num_classes": architecture.num_classes,
                "input_size": [architecture.channels, *architecture.image_size],
                "fixed_input_size": True,
                "mean": list(record.mean),
                "std": list(record.std),
                "crop_pct": record.crop,
                "crop_mode": "squash" if record.fit == "squash" else "center",
                "interpolation": record.interpolation,
                "first_conv": "patch_embed.proj",
                "classifier": ["head", "head_dist"] if variant.family.distilled else "head",
            },
        }
    }


def _arguments(architecture: Architecture) -> dict:
    variant, size, family = architecture.variant, architecture.variant.size, architecture.variant.family
    shared = {
        "img_size": list(architecture.image_size),
        "patch_size": variant.patch,
        "in_chans": architecture.channels,
        "embed_dim": size.width,
        "depth": architecture.depth,
        "num_heads": size.num_heads,
        "mlp_ratio": _ratio(size.mlp_dim, size.width),
        "global_pool": architecture.pooling,
    }
    if variant.family_name in BEIT:
        return shared
    if variant.family_name in EVA:
        return shared | {
            "class_token": architecture.class_token,
            "num_reg_tokens": architecture.registers,
            "use_fc_norm": architecture.norm_after_pooling,
            "swiglu_mlp": size.gated,
            "scale_mlp": size.mlp_norm,
            "swiglu_align_to": 1 if size.gated and variant.family_name == "dinov3" else 0,
            "qkv_fused": not size.mlp_norm,
        }
    if size.gated:
        # timm packs gate and value into one layer of twice the units.
        shared["mlp_ratio"] = _ratio(2 * size.mlp_dim, size.width)
    if family.distilled:
        # timm counts the distillation token by itself.
        return shared
    return (
        shared
        | {
            "class_token": architecture.class_token,
            "reg_tokens": architecture.registers,
            "no_embed_class": family.positions == "patches",
            "fc_norm": architecture.norm_after_pooling,
        }
        | ({"act_layer": family.activation} if family.activation != "gelu" else {})
    )


def _ratio(units: int, width: int) -> float:
    """A factor that gives `units` again when timm multiplies the width by it and cuts off the fraction."""
    return units / width if int(width * (units / width)) == units else (units + 0.5) / width

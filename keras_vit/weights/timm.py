"""timm's names for a plain ViT, as a table that can be read (the same as DeiT's own checkpoints)."""

from __future__ import annotations

from keras_vit.weights.transforms import BATCHED, CONV, LINEAR, SAME, Layout

NAMES: dict[str, tuple[str, Layout]] = {
    "cls_token": ("class_token/token", SAME),
    "pos_embed": ("position_embedding/embedding", BATCHED),
    "patch_embed.proj.weight": ("patch_embedding/projection/kernel", CONV),
    "patch_embed.proj.bias": ("patch_embedding/projection/bias", SAME),
    "norm.weight": ("norm/gamma", SAME),
    "norm.bias": ("norm/beta", SAME),
    "head.weight": ("head/kernel", LINEAR),
    "head.bias": ("head/bias", SAME),
}

BLOCK_NAMES: dict[str, tuple[str, Layout]] = {
    "norm1.weight": ("norm1/gamma", SAME),
    "norm1.bias": ("norm1/beta", SAME),
    "attn.qkv.weight": ("attention/qkv/kernel", LINEAR),
    "attn.qkv.bias": ("attention/qkv/bias", SAME),
    "attn.proj.weight": ("attention/projection/kernel", LINEAR),
    "attn.proj.bias": ("attention/projection/bias", SAME),
    "norm2.weight": ("norm2/gamma", SAME),
    "norm2.bias": ("norm2/beta", SAME),
    "mlp.fc1.weight": ("mlp/expand/kernel", LINEAR),
    "mlp.fc1.bias": ("mlp/expand/bias", SAME),
    "mlp.fc2.weight": ("mlp/contract/kernel", LINEAR),
    "mlp.fc2.bias": ("mlp/contract/bias", SAME),
}


def name_map(depth: int) -> dict[str, tuple[str, Layout]]:
    """timm's name -> (our variable's path, layout), for a model of `depth` blocks."""
    blocks = {
        f"blocks.{index}.{theirs}": (f"block_{index}/{ours}", layout)
        for index in range(depth)
        for theirs, (ours, layout) in BLOCK_NAMES.items()
    }
    return NAMES | blocks

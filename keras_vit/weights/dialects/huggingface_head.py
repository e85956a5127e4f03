"""What transformers' classes call what comes after the encoder, and where their classifiers differ from ours."""

from __future__ import annotations

import numpy as np

from keras_vit.errors import InputError
from keras_vit.weights.architecture import Architecture
from keras_vit.weights.dialects.rows import Arrays, Row, linear, norm, row


def classifier(architecture: Architecture) -> list[Row]:
    """A linear layer on what the model pools."""
    return [*linear("classifier", "head")]


def two_classifiers(architecture: Architecture) -> list[Row]:
    """DeiT's two; models that were not distilled have one."""
    return [
        *linear("cls_classifier", "head"),
        *linear("distillation_classifier", "head_distilled"),
        *linear("classifier", "head"),
    ]


def no_classifier(architecture: Architecture) -> list[Row]:
    """transformers has no class with one."""
    return []


def average_classifier(architecture: Architecture) -> list[Row]:
    """SigLIP's classifier sees the average of the patches, also where the file has an attention pooling."""
    return [*linear("classifier", "head")] if architecture.pooling == "avg" else []


def half_classifier(architecture: Architecture) -> list[Row]:
    """DINOv2's classifier sees the class token and the average of the patches side by side, ours one of them."""
    place = 1 if architecture.pooling == "avg" else 0

    def read(arrays: Arrays) -> Arrays:
        halves = np.split(arrays[0].T, 2)
        used = halves.pop(place)
        if halves[0].any():
            raise InputError(
                "The classifier of the file sees the class token and the average of the patches together, which no "
                f"{architecture.variant.name} does: build with num_classes=0, or with other classes than its "
                f"{used.shape[1]}."
            )
        return [used]

    def write(arrays: Arrays) -> Arrays:
        halves = [np.zeros_like(arrays[0])]
        halves.insert(place, arrays[0])
        return [np.concatenate(halves).T]

    return [Row(("classifier.weight",), ("head/kernel",), read, write), row("classifier.bias", "head/bias")]


def projection(architecture: Architecture) -> list[Row]:
    """CLIP's projection into the space that images share with texts has no bias."""

    def read(arrays: Arrays) -> Arrays:
        return [arrays[0].T, np.zeros(len(arrays[0]), "float32")]

    def write(arrays: Arrays) -> Arrays:
        kernel, bias = arrays
        if bias.any():
            raise InputError(
                f"The classifier of {architecture.variant.name} has a bias that is not zero, and transformers' "
                "CLIPVisionModelWithProjection has none: save with dialect='timm'."
            )
        return [kernel.T]

    return [Row(("visual_projection.weight",), ("head/kernel", "head/bias"), read, write)]


def _query_and_key_value(kind: str, ours: str) -> Row:
    """PyTorch's attention packs query, key and value; our pooling has its query apart."""

    def read(arrays: Arrays) -> Arrays:
        return np.split(arrays[0].T, [len(arrays[0]) // 3], axis=-1)

    def write(arrays: Arrays) -> Arrays:
        return [np.concatenate(arrays, axis=-1).T]

    return Row((f"head.attention.in_proj_{kind}",), (f"pool/query/{ours}", f"pool/key_value/{ours}"), read, write)


ATTENTION_POOLING = (
    row("head.probe", "pool/probe"),
    _query_and_key_value("weight", "kernel"),
    _query_and_key_value("bias", "bias"),
    *linear("head.attention.out_proj", "pool/projection"),
    *norm("head.layernorm", "pool/norm"),
    *linear("head.mlp.fc1", "pool/mlp/expand"),
    *linear("head.mlp.fc2", "pool/mlp/contract"),
)
"""SigLIP's."""

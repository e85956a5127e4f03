"""Hugging Face transformers as the judge of our dialect: small models of its classes, run and compared."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which the test extra installs")

from peers import declare_torchvision_ops  # noqa: E402

declare_torchvision_ops()
transformers = pytest.importorskip("transformers", reason="needs transformers, which the test extra installs")

from safetensors.numpy import load_file  # noqa: E402

import keras_vit  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

SQUARE, RECTANGLE = (48, 48), (48, 80)
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "patch_size": 16,
    "layer_norm_eps": 1e-6,
}


def class_token(outputs):
    return outputs.last_hidden_state[:, 0]


def both_tokens(outputs):
    return outputs.last_hidden_state[:, :2].mean(1)


def average(outputs):
    return outputs.last_hidden_state.mean(1)


def pooled(outputs):
    return outputs.pooler_output


@dataclasses.dataclass(frozen=True)
class Judge:
    """A family in transformers: its configuration and classes, and where our features are in what they return.

    `settings` make the configuration that of our `mu` size, `classes` is its key for the number of classes, `back` is
    the class without a classifier that our files are for.
    """

    config: str
    base: str
    classifier: str | None
    features: Callable
    settings: dict = dataclasses.field(default_factory=dict)
    classes: str = "num_labels"
    rectangles: bool = True
    back: str | None = None

    def model(self, image_size, num_classes: int = 0, **changes):
        """Random weights in a small model."""
        height, width = image_size
        settings = SMALL | self.settings | {"image_size": height if height == width else [height, width]}
        settings |= {self.classes: num_classes} if num_classes else {}
        config = getattr(transformers, self.config)(**(settings | changes))
        return drawn(getattr(transformers, self.classifier if num_classes else self.base)(config))


def images_only(stem: str, features: Callable, **fields) -> Judge:
    """A judge with the usual names of classes."""
    names = {"config": f"{stem}Config", "base": f"{stem}Model", "classifier": f"{stem}ForImageClassification"}
    return Judge(**{**names, "features": features, **fields})


VIT = images_only("ViT", class_token)
CLIP = Judge(
    "CLIPVisionConfig",
    "CLIPVisionModel",
    "CLIPVisionModelWithProjection",
    pooled,
    {"layer_norm_eps": 1e-5},
    classes="projection_dim",
    rectangles=False,
)
BEIT = images_only(
    "Beit", pooled, settings={"use_relative_position_bias": True, "use_mean_pooling": True}, rectangles=False
)
JUDGES = {
    "vit": VIT,
    "deit": VIT,
    "dino": VIT,
    "flexivit": VIT,
    "deit_distilled": images_only("DeiT", both_tokens, classifier="DeiTForImageClassificationWithTeacher"),
    "mae": images_only(
        "ViTMAE", class_token, settings={"mask_ratio": 0.0}, classifier=None, rectangles=False, back="ViTModel"
    ),
    "dinov2": images_only("Dinov2", class_token, rectangles=False),
    "dinov2_reg": images_only("Dinov2WithRegisters", class_token, rectangles=False),
    "dinov3": images_only(
        "DINOv3ViT", class_token, settings={"layer_norm_eps": 1e-5, "num_register_tokens": 4}, classifier=None
    ),
    "clip": CLIP,
    "openclip": dataclasses.replace(CLIP, settings={**CLIP.settings, "hidden_act": "gelu"}),
    "siglip": Judge("SiglipVisionConfig", "SiglipVisionModel", None, pooled, rectangles=False),
    "beit": BEIT,
    "beitv2": BEIT,
    "ijepa": images_only("IJepa", average),
}
WITHOUT = {"deit3", "vit_reg", "vit_gap", "eva02"}
"""Families that transformers has no model for."""


def drawn(model):
    """Draws weights in which every parameter matters: no zeros, no ones, no vanishing layer scale."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lambda" in name or ("norm" in name and name.endswith("weight")):
                parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator))
            else:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def images_of(image_size) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(2, *image_size, 3)).astype("float32")


def run(model, images: np.ndarray):
    arguments = {"pixel_values": torch.from_numpy(images).permute(0, 3, 1, 2)}
    if isinstance(model, transformers.ViTMAEModel):
        # It keeps the patches in the order of this noise.
        patches = images.shape[1] * images.shape[2] // 256
        arguments["noise"] = torch.arange(patches, dtype=torch.float32).expand(len(images), -1)
    with torch.no_grad():
        return model(**arguments)


def logits_of(outputs) -> np.ndarray:
    return (outputs.image_embeds if "image_embeds" in outputs else outputs.logits).numpy()


def ours(family: str, weights, image_size, num_classes: int = 0, **changes) -> keras.Model:
    arguments = {"depth": 2, "image_size": image_size, "normalize": False, "weights": weights, **changes}
    return keras_vit.build(f"{family}_mu16", num_classes=num_classes, **arguments)


def names_in(folder: Path) -> set[str]:
    """The arrays' names; whether a CLIP or SigLIP begins them with its tower depends on transformers' version."""
    return {name.removeprefix("vision_model.") for name in load_file(folder / "model.safetensors")}


def saved(model, folder: Path, **options) -> Path:
    model.save_pretrained(folder, **options)
    return folder


def loaded(name: str, folder: Path):
    """A model of transformers from a file of ours, which must hold its arrays and no others."""
    model, report = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    assert json.loads((folder / "config.json").read_text())["architectures"] == [name]
    return model.eval()


def assert_same(given, wanted, bound: float = 2e-5):
    given, wanted = keras.ops.convert_to_numpy(given), np.asarray(wanted)
    assert given.shape == wanted.shape
    error = np.abs(given - wanted).max() / wanted.std()
    assert error <= bound, f"{error:.1e} x std"

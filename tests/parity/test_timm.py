"""Every family against timm: its random weights here, ours there, the same outputs."""

from __future__ import annotations

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which the test extra installs")

from peers import declare_torchvision_ops  # noqa: E402

declare_torchvision_ops()
timm = pytest.importorskip("timm", reason="needs timm, which the test extra installs")
from safetensors.torch import save_file  # noqa: E402

import keras_vit  # noqa: E402
from keras_vit.variants import FAMILIES  # noqa: E402

SMALL = {"patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2}
EVA02 = {"mlp_ratio": 85.5 / 32, "scale_mlp": True, "qkv_fused": False}
MODELS = {
    "vit": ("vit_base_patch16_224", {}),
    "deit": ("deit_base_patch16_224", {}),
    "deit_distilled": ("deit_base_distilled_patch16_224", {}),
    "deit3": ("deit3_base_patch16_224", {}),
    "mae": ("vit_base_patch16_224", {}),
    "dino": ("vit_small_patch16_224", {}),
    "dinov2": ("vit_small_patch14_dinov2", {}),
    "dinov2_reg": ("vit_small_patch14_reg4_dinov2", {}),
    "dinov3": ("vit_small_patch16_dinov3_qkvb", {"global_pool": "token"}),
    "clip": ("vit_base_patch16_clip_quickgelu_224", {}),
    "openclip": ("vit_base_patch16_clip_224", {}),
    "siglip": ("vit_base_patch16_siglip_224", {"act_layer": "gelu_tanh"}),
    "vit_reg": ("vit_medium_patch16_reg4_gap_256", {}),
    "vit_gap": ("vit_medium_patch16_gap_256", {}),
    "ijepa": ("vit_huge_patch14_gap_224", {}),
    "beit": ("beit_base_patch16_224", {}),
    "beitv2": ("beitv2_base_patch16_224", {}),
    "eva02": ("eva02_base_patch14_224", EVA02),
    "flexivit": ("flexivit_base", {}),
}
"""Family -> timm's architecture and what it needs to be our `mu` size."""


def timm_model(family: str, image_size, num_classes: int, **changes):
    """A small timm model in which every parameter matters: no zeros, no ones, no vanishing layer scale."""
    name, arguments = MODELS[family]
    model = timm.create_model(
        name, **{**SMALL, **arguments, "img_size": image_size, "num_classes": num_classes, **changes}
    ).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            factor = "gamma" in parameter_name or ("norm" in parameter_name and parameter_name.endswith("weight"))
            parameter.copy_(1 + 0.2 * noise if factor else 0.1 * noise)
    return model


def pixels(image_size, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(2, *image_size, channels)).astype("float32")


def outputs_of_timm(model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Final features and logits."""
    with torch.no_grad():
        x = torch.from_numpy(images).permute(0, 3, 1, 2)
        return model.forward_head(model.forward_features(x), pre_logits=True).numpy(), model(x).numpy()


def ours(family: str, weights, image_size, num_classes: int, **changes) -> keras.Model:
    return keras_vit.build(
        f"{family}_mu16",
        **{
            "depth": 2,
            "num_classes": num_classes,
            "image_size": image_size,
            "normalize": False,
            "weights": weights,
            **changes,
        },
    )


def assert_same(given, wanted, what: str, bound: float = 2e-5):
    given = keras.ops.convert_to_numpy(given)
    assert given.shape == wanted.shape
    error = np.abs(given - wanted).max() / wanted.std()
    assert error <= bound, f"{what}: {error:.1e} x std"


def test_no_family_escapes():
    assert set(MODELS) == set(FAMILIES)


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("image_size", [(64, 64), (48, 80)], ids=["square", "rectangle"])
def test_timm_there_and_back(family, image_size, tmp_path, capsys):
    judge = timm_model(family, image_size, 7)
    save_file(judge.state_dict(), tmp_path / "theirs.safetensors")
    images = pixels(image_size)
    features, logits = outputs_of_timm(judge, images)

    encoder = ours(family, tmp_path / "theirs.safetensors", image_size, 0)
    assert "classifier is left out" in capsys.readouterr().out
    assert_same(encoder(images), features, "features")
    classifier = ours(family, tmp_path / "theirs.safetensors", image_size, 7)
    # Names and shapes are all that a bare file has, and CLIP comes with two activations.
    unsaid = "does not say its activation" if family in ("clip", "openclip") else ""
    said = capsys.readouterr().out
    assert unsaid in said
    assert bool(unsaid) == bool(said)
    assert_same(classifier(images), logits, "logits")
    assert classifier.count_params() == sum(p.numel() for p in judge.parameters())

    folder = keras_vit.weights.save(classifier, tmp_path / "ours", dialect="timm")
    back = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert {k: v.shape for k, v in back.state_dict().items()} == {k: v.shape for k, v in judge.state_dict().items()}
    for name, array in back.state_dict().items():
        assert torch.equal(array, judge.state_dict()[name]), name
    for there, here in zip(outputs_of_timm(back, images), (features, logits), strict=True):
        np.testing.assert_allclose(there, here, atol=1e-6)
    size = back.pretrained_cfg["input_size"]
    assert tuple(size) == (3, *image_size)


GATED = {
    "dinov2": ("vit_giant_patch14_dinov2", "g14", {"mlp_ratio": 128 / 32 * 2}),
    "dinov2_reg": ("vit_giant_patch14_reg4_dinov2", "g14", {"mlp_ratio": 128 / 32 * 2}),
    "dinov3": ("vit_small_plus_patch16_dinov3_qkvb", "splus16", {"global_pool": "token"}),
    "eva02": ("eva02_tiny_patch14_224", "ti14", {}),
}
"""Sizes of a family that have another MLP than its `mu`: their state dict's names are checked on the meta device."""


@pytest.mark.parametrize("family", GATED)
def test_names_of_gated_sizes(family):
    from keras_vit.weights.architecture import describe
    from keras_vit.weights.dialects import DIALECTS
    from keras_vit.weights.save import to_dialect

    name, size, _ = GATED[family]
    model = keras_vit.build(f"{family}_{size}", num_classes=3, depth=1, image_size=2 * int(size[-2:]))
    with torch.device("meta"):
        judge = timm.create_model(name, depth=1, num_classes=3, img_size=2 * int(size[-2:]))
    written = to_dialect(model, describe(model), DIALECTS["timm"])
    assert {k: v.shape for k, v in written.items()} == {k: tuple(v.shape) for k, v in judge.state_dict().items()}

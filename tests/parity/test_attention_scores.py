"""Attention against Hugging Face transformers' `output_attentions`: the same random weights, the same scores."""

from __future__ import annotations

import numpy as np
import pytest
from judges import JUDGES, RECTANGLE, SQUARE, images_of, ours, saved, torch, transformers

import keras_vit

BOUND = 1e-5
USUAL = {"vit", "deit", "dinov2", "dinov2_reg"}
"""Families of the default tests; the long ones go through all."""


def attentions(model, images: np.ndarray) -> np.ndarray:
    """(B, layers, heads, N, N)."""
    arguments = {"pixel_values": torch.from_numpy(images).permute(0, 3, 1, 2)}
    if isinstance(model, transformers.ViTMAEModel):
        # It keeps the patches in the order of this noise.
        patches = images.shape[1] * images.shape[2] // 256
        arguments["noise"] = torch.arange(patches, dtype=torch.float32).expand(len(images), -1)
    with torch.no_grad():
        return torch.stack(model(**arguments, output_attentions=True).attentions, 1).numpy()


@pytest.mark.parametrize(
    ("family", "image_size"),
    [
        pytest.param(family, size, id=f"{family}-{size[0]}x{size[1]}", marks=[pytest.mark.slow] * (family not in USUAL))
        for family in JUDGES
        for size in (SQUARE, RECTANGLE)
        if size == SQUARE or JUDGES[family].rectangles
    ],
)
def test_every_family(family, image_size, tmp_path):
    images = images_of(image_size)
    theirs = JUDGES[family].model(image_size, attn_implementation="eager")
    model = ours(family, saved(theirs, tmp_path), image_size)
    wanted = attentions(theirs, images)
    found = keras_vit.attention(model, images)
    assert found.scores.shape == wanted.shape
    assert wanted.std() > 0.01
    assert np.abs(found.scores - wanted).max() < BOUND
    patches = image_size[0] // 16, image_size[1] // 16
    assert found.grid == patches


def test_the_real_deit(shared_weights, tmp_path):
    with np.load(shared_weights / "deit_tiny_patch16_224_reference.npz") as arrays:
        image = arrays["first_input_nhwc"]
    weights = shared_weights / "deit_tiny_patch16_224.safetensors"
    model = keras_vit.build("deit_ti16", num_classes=1000, weights=weights, normalize=False)
    folder = keras_vit.weights.save(model, tmp_path, dialect="huggingface")
    theirs = transformers.AutoModelForImageClassification.from_pretrained(folder, attn_implementation="eager").eval()
    wanted, found = attentions(theirs, image), keras_vit.attention(model, image)
    assert found.scores.shape == (1, 12, 3, 197, 197)
    assert np.abs(found.scores - wanted).max() < BOUND

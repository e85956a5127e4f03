"""The shipped recipes reach what the README says; minutes long, so `-m slow`."""

from __future__ import annotations

from pathlib import Path

import pytest

from keras_vit.training import Recipe, train

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


@pytest.mark.slow
def test_digits(tmp_path):
    recipe = Recipe.read(RECIPES / "digits.yaml")
    recipe.out = str(tmp_path / "run")
    assert train(recipe, progress=False).metrics["test"]["top1"] >= 0.975


@pytest.mark.slow
def test_hymenoptera(shared_data, shared_weights, tmp_path):
    recipe = Recipe.read(RECIPES / "hymenoptera.yaml")
    recipe.out = str(tmp_path / "run")
    recipe.data.spec = str(shared_data / "hymenoptera")
    recipe.model.weights = str(shared_weights / "deit_tiny_patch16_224.safetensors")
    assert train(recipe, progress=False).metrics["val"]["top1"] >= 0.94

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
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("name", "split", "bars"),
    [
        ("hymenoptera", "val", {"top1": 0.94}),
        ("camvid", "test", {"miou": 0.53}),
        ("bccd", "test", {"ap50": 0.80, "ap": 0.48}),
    ],
)
def test_fine_tuned_from_deit(name, split, bars, shared_data, shared_weights, tmp_path):
    recipe = Recipe.read(RECIPES / f"{name}.yaml")
    recipe.out = str(tmp_path / "run")
    recipe.data.spec = str(shared_data / name)
    recipe.model.weights = str(shared_weights / "deit_tiny_patch16_224.safetensors")
    reached = train(recipe, progress=False).metrics[split]
    assert all(reached[figure] >= least for figure, least in bars.items()), reached

"""Recipes: YAML and back, typed, and honest about what they do not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from keras_vit.build import check_image_size
from keras_vit.errors import InputError
from keras_vit.heads import HEADS
from keras_vit.training.recipe import Recipe, read_settings, set_path
from keras_vit.variants import parse

SHIPPED = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_say_what_they_reached(path):
    recipe = Recipe.read(path)
    heads = HEADS[recipe.task]
    check_image_size(recipe.model.image_size, parse(recipe.model.name), whole_patches=not heads.dense)
    assert recipe.model.head in (None, *heads.by_name)
    assert path.read_text().startswith("# ")


def test_yaml_round_trip(tmp_path):
    recipe = Recipe.from_dict({"model": {"image_size": [224, 320]}, "train": {"freeze": 3}, "augment": {"mixup": 0.2}})
    (tmp_path / "r.yaml").write_text(recipe.to_yaml())
    assert Recipe.read(tmp_path / "r.yaml") == recipe
    assert recipe.model.image_size == (224, 320)
    assert recipe.train.freeze == 3


def test_numbers_that_yaml_reads_as_text():
    assert Recipe.from_dict({"train": {"learning_rate": "3e-4"}}).train.learning_rate == 3e-4


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"trian": {}}, "unknown setting 'trian': did you mean 'train'?"),
        ({"train": {"learning_rte": 1}}, "unknown setting 'train.learning_rte': did you mean 'learning_rate'?"),
        ({"augment": {"mixupp": 1}}, "did you mean 'mixup'?"),
        ({"train": 3}, "'train' is a group of settings"),
        ({"train": {"epochs": "many"}}, "train.epochs"),
        ({"train": {"epochs": 0}}, "train.epochs is at least 1"),
        ({"train": {"learning_rate": 0}}, "train.learning_rate is above 0"),
        ({"train": {"ema": 1.0}}, "train.ema is at least 0 and below 1"),
        ({"augment": {"erasing": 2}}, "augment.erasing"),
        ({"model": {"image_size": "large"}}, "model.image_size"),
    ],
)
def test_wrong_settings_get_one_sentence(settings, sentence):
    with pytest.raises(InputError) as caught:
        Recipe.from_dict(settings)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("a: [1", "is not readable YAML"), ("just words", "holds no settings"), ("", "holds no settings")],
)
def test_files_that_are_no_recipe(tmp_path, content, sentence):
    (tmp_path / "r.yaml").write_text(content)
    with pytest.raises(InputError, match=sentence):
        read_settings(tmp_path / "r.yaml")
    with pytest.raises(InputError, match="There is no recipe"):
        read_settings(tmp_path / "missing.yaml")


def test_set_path():
    settings = {"train": {"epochs": 1}}
    set_path(settings, "train.epochs", 5)
    set_path(settings, "model.name", "vit_b16")
    assert settings == {"train": {"epochs": 5}, "model": {"name": "vit_b16"}}
    with pytest.raises(InputError, match="is a value, not a group"):
        set_path(settings, "model.name.first", 1)

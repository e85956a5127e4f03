"""What may be searched, and how it is said."""

from __future__ import annotations

import pytest

from keras_vit.errors import InputError
from keras_vit.search import Choice, Range, default_space, parse_axis
from keras_vit.search.space import changed, check, value_of
from keras_vit.training import Recipe


@pytest.mark.parametrize(
    ("word", "axis"),
    [
        ("a.b=1e-4:1e-2:log", Range(1e-4, 1e-2, log=True)),
        ("a.b=0.0:0.3:0.1", Range(0.0, 0.3, step=0.1)),
        ("a.b=5:20", Range(5, 20)),
        ("a.b=0:0.3", Range(0, 0.3)),
        ("a.b=adamw,lion", Choice(("adamw", "lion"))),
        ("a.b=true,false", Choice((True, False))),
        ("a.b=8,16,32", Choice((8, 16, 32))),
        ("a.b=none,2", Choice(("none", 2))),
    ],
)
def test_words(word, axis):
    assert parse_axis(word) == ("a.b", axis)


@pytest.mark.parametrize(
    "word", ["a", "a=", "=1:2", "a=1:2:3:4", "a=x:y", "a=1:", "a=2:1", "a=-1:1:log", "a=1:2:5", "a=1", "a=1:2:log:log"]
)
def test_wrong_words(word):
    with pytest.raises(InputError):
        parse_axis(word)


def test_distributions():
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    assert Range(5, 20).distribution() == IntDistribution(5, 20)
    assert Range(0, 0.3).distribution() == FloatDistribution(0, 0.3)
    assert Range(1e-4, 1e-2, log=True).distribution() == FloatDistribution(1e-4, 1e-2, log=True)
    assert Choice((1, 2)).distribution() == CategoricalDistribution((1, 2))


def test_what_a_range_holds():
    assert Range(0.0, 0.3, step=0.1).holds(0.2)
    assert not Range(0.0, 0.3, step=0.1).holds(0.25)
    assert not Range(1, 5).holds(6)
    assert not Range(0, 5).holds(True)
    assert Choice(("a", None)).holds(None)


def test_the_default_space_is_around_the_recipe():
    recipe = Recipe.from_dict({"train": {"learning_rate": 2e-3}})
    space = default_space(recipe)
    assert space["train.learning_rate"] == Range(2e-4, 2e-2, log=True)
    assert "train.layer_decay" not in space
    check(recipe, space)
    tuned = Recipe.from_dict({"task": "segmentation", "model": {"weights": "fb_in1k"}})
    assert "augment.mixup" not in default_space(tuned)
    assert "train.layer_decay" in default_space(tuned)
    check(tuned, default_space(tuned))


def test_a_recipe_with_other_values():
    recipe = changed(Recipe(), {"train.learning_rate": 0.5, "model.drop_path": 0.1})
    assert (value_of(recipe, "train.learning_rate"), recipe.model.drop_path) == (0.5, 0.1)


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ({}, "nothing to search"),
        ({"train.learning_rat": Range(0.1, 0.2)}, "did you mean 'learning_rate'"),
        ({"train.ema": Range(0.5, 1.5)}, "train.ema is at least 0 and below 1"),
        ({"train.optimizer": Choice(("adamw", "adan"))}, "adan"),
        ({"train.learning_rate": Choice(("fast", "slow"))}, "wrong type"),
    ],
)
def test_spaces_that_the_recipe_does_not_take(space, sentence):
    with pytest.raises(InputError, match=sentence):
        check(Recipe(), space)

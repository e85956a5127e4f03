"""The cost of a step by batch size, measured in real processes, and the search for the largest that fits."""

from __future__ import annotations

import json

import pytest
import yaml

from keras_vit.cli.main import main
from keras_vit.training import Recipe
from keras_vit.training.batch_sizes import _search, batch_costs


def searched(largest: int, unit: int = 1) -> list[int]:
    """The sizes that are tried where those up to `largest` fit."""
    return [size for size, _ in _search(lambda size: (size, {} if size <= largest else None), unit)]


@pytest.mark.parametrize("unit", [1, 3, 8])
@pytest.mark.parametrize("largest", [0, 1, 7, 8, 9, 100, 255, 256, 1000])
def test_the_search_ends_near_the_largest_that_fits(largest, unit):
    tried = searched(largest, unit)
    assert len(set(tried)) == len(tried)
    assert all(size % unit == 0 and size > 0 for size in tried)
    fits = max((size for size in tried if size <= largest), default=0)
    too_large = min(size for size in tried if size > largest)
    assert too_large - fits <= max(unit, fits // 8)


def test_costs_and_what_does_not_fit(tiny, tmp_path, capsys):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump(tiny("unused")))
    words = ["benchmark", "--train", str(recipe), "--steps", "2", "--set", "train.epochs=1", "--out", str(tmp_path)]
    assert main([*words, "--batch-sizes", "8,200"]) == 0
    assert "largest batch size that fits: 200" in capsys.readouterr().out
    found = json.loads((tmp_path / "benchmark_train.json").read_text())["batch_sizes"]
    assert list(found) == ["8", "200"]  # more than the 96 images that there are
    for size, cost in found.items():
        assert cost["images_per_second"] == pytest.approx(int(size) / cost["step_s"])
        assert 0 < cost["mfu"] < 1.5
        assert cost["peak_memory_gb"] > 0.3
        assert cost["first_step_s"] > cost["step_s"]

    assert main([*words, "--batch-sizes", "8", "--memory", "0.1"]) == 1
    assert "no batch size fits" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "sizes", "sentence"),
    [
        ({"train.accumulate": 2}, [3], "use a multiple of 2"),
        ({"train.devices": "workers"}, [8], "The step of several workers is not measured here"),
        ({}, [0], "counts of at least 1"),
    ],
)
def test_refusals(tiny, changes, sizes, sentence):
    with pytest.raises(ValueError, match=sentence):
        list(batch_costs(Recipe.from_dict(tiny("unused", **changes)), sizes, steps=1))


def test_refusals_of_the_command(tmp_path, capsys):
    for words, sentence in (
        (["a", "b"], "one recipe or run at a time"),
        ([str(tmp_path / "no.yaml")], "There is no recipe"),
        ([str(tmp_path)], "There is no recipe"),
    ):
        assert main(["benchmark", "--train", *words]) == 2
        assert sentence in capsys.readouterr().err

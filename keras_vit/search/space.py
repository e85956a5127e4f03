"""What a search may change: settings of a recipe, and the values that each may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from keras_vit.errors import InputError
from keras_vit.training.recipe import Recipe, set_path

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FORM = "NAME=LOW:HIGH, NAME=LOW:HIGH:log, NAME=LOW:HIGH:STEP or NAME=A,B,C"


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where both are `int`.

    Attributes:
        low, high: the ends.
        log: drawn evenly by their logarithm, as learning rates should be.
        step: only `low` plus multiples of it.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self):
        if not self.low < self.high:
            raise InputError(f"A range ends above where it begins, not {self.low}:{self.high}.")
        if self.log and (self.low <= 0 or self.step is not None):
            raise InputError(f"A logarithmic range begins above 0 and has no step, not {self.low}:{self.high}.")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise InputError(f"The step of a range lies between 0 and its length, not {self.step}.")

    def holds(self, value: Any) -> bool:
        """Whether a value is one of these numbers."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-6

    def distribution(self) -> BaseDistribution:
        """What Optuna calls it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if all(isinstance(end, int) for end in (self.low, self.high, self.step or 1)):
            return IntDistribution(self.low, self.high, log=self.log, step=self.step or 1)
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)


@dataclass(frozen=True)
class Choice:
    """One of several values.

    Attributes:
        values: numbers, words or truth values.
    """

    values: tuple[Any, ...]

    def __post_init__(self):
        if len(self.values) < 2:
            raise InputError("There is nothing to choose from one value: name two or more.")
        if not all(value is None or isinstance(value, (bool, int, float, str)) for value in self.values):
            raise InputError(f"A search chooses among numbers, words and truth values, not {self.values}.")

    def holds(self, value: Any) -> bool:
        """Whether a value is one of these."""
        return value in self.values

    def distribution(self) -> BaseDistribution:
        """What Optuna calls it."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)


Space = Mapping[str, Range | Choice]
"""Setting, as `train.learning_rate` -> the values that it may take."""


def parse_axis(word: str) -> tuple[str, Range | Choice]:
    """A setting and its values, from the words `train.learning_rate=1e-4:1e-2:log`, `model.drop_path=0.0:0.3:0.1` or
    `train.optimizer=adamw,lion`.

    Raises:
        InputError: of another form.
    """
    path, equals, text = word.partition("=")
    if not (path and equals and text):
        raise InputError(f"A search is said as {FORM}, not {word!r}.")
    if ":" not in text:
        return path, Choice(tuple(_number(part) for part in text.split(",")))
    low, high, *rest = (part if part == "log" else _number(part) for part in text.split(":"))
    numbers = [low, high, *(part for part in rest if part != "log")]
    if len(rest) > 1 or not all(isinstance(number, (int, float)) for number in numbers):
        raise InputError(f"A search is said as {FORM}, not {word!r}.")
    step = rest[0] if rest and rest[0] != "log" else None
    return path, Range(low, high, log="log" in rest, step=step)


def _number(text: str):
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)  # YAML takes 1e-4, without a point, for a word
    except ValueError:
        return yaml.safe_load(text)


def default_space(recipe: Recipe) -> dict[str, Range | Choice]:
    """What is worth searching for most ViTs: around the recipe's own learning rate, decay and regularisation.

    Args:
        recipe: where the search starts. With weights, the learning rate's decay over the layers is searched too;
            for classification, MixUp.
    """
    rate = recipe.train.learning_rate
    space = {
        "train.learning_rate": Range(rate / 10, rate * 10, log=True),
        "train.weight_decay": Range(0.001, 0.3, log=True),
        "model.drop_path": Range(0.0, 0.3, step=0.05),
    }
    if recipe.model.weights:
        space["train.layer_decay"] = Range(0.5, 1.0)
    if recipe.task == "classification":
        space["augment.mixup"] = Range(0.0, 0.8, step=0.1)
    return space


def changed(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with other values of some settings.

    Raises:
        InputError: an unknown setting, or a value that it cannot take.
    """
    settings = recipe.to_dict()
    for path, value in values.items():
        set_path(settings, path, value)
    return Recipe.from_dict(settings)


def value_of(recipe: Recipe, path: str):
    """A setting of a recipe by its path."""
    value: Any = recipe.to_dict()
    for name in path.split("."):
        value = value[name]
    return value


def check(recipe: Recipe, space: Space) -> None:
    """Makes sure that a recipe takes the ends of all ranges and all choices.

    Raises:
        InputError: it does not, or there is nothing to search.
    """
    if not space:
        raise InputError(f"There is nothing to search: add --search {FORM}.")
    for path, axis in space.items():
        values = axis.values if isinstance(axis, Choice) else (axis.low, axis.high)
        for value in values:
            changed(recipe, {path: value})

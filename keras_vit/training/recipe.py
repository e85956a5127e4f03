"""The recipe: everything that a training run was told, as a typed tree that YAML can hold."""

from __future__ import annotations

import copy
import dataclasses
import typing
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from keras_vit.data.augment import Augment
from keras_vit.errors import InputError, suggest
from keras_vit.training.settings import DataSettings, LogSettings, ModelSettings, TrainSettings

PROVENANCE = "provenance"
"""The one key of a run's `recipe.yaml` that is a record and no setting: versions, git state, data fingerprint."""


@dataclass
class Recipe:
    """A whole run.

    Attributes:
        data: where images come from.
        model: what is built.
        augment: what happens to training images.
        train: how it learns.
        log: what TensorBoard is given.
        seed: of splits, weights, shuffling, augmentation and masks.
        task: what is learned: `classification`, `segmentation` or `detection`.
        options: the task's own settings, the fields of its class.
        out: the run folder; by default a new one under `saved_models/`.
    """

    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    augment: Augment = field(default_factory=Augment)
    train: TrainSettings = field(default_factory=TrainSettings)
    log: LogSettings = field(default_factory=LogSettings)
    seed: int = 0
    task: str = "classification"
    options: dict[str, Any] = field(default_factory=dict)
    out: str | None = None

    @classmethod
    def from_dict(cls, settings: dict) -> Recipe:
        """A recipe from nested plain data; what is not given keeps its default.

        Raises:
            InputError: an unknown setting (with the nearest right name) or a value of the wrong type.
        """
        import jsonargparse

        # A copy, because the parser writes into the lists of what it is given.
        settings = copy.deepcopy({key: value for key, value in settings.items() if key != PROVENANCE})
        _check_names(settings, cls, "")
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(cls, "recipe")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                recipe = parser.instantiate(parser.parse_object({"recipe": settings})).recipe
        except InputError:
            raise
        except (jsonargparse.ArgumentError, TypeError, ValueError) as error:
            reason = " ".join(str(error).replace("recipe.", "").split())
            raise InputError(f"A setting of the recipe has the wrong type: {reason}") from None
        return recipe

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """A recipe from a YAML file.

        Raises:
            InputError: a missing file, broken YAML, an unknown setting or a value of the wrong type.
        """
        return cls.from_dict(read_settings(path))

    def to_dict(self) -> dict:
        """Nested plain data, ready for YAML."""
        return _plain(dataclasses.asdict(self))

    def to_yaml(self) -> str:
        """The recipe as YAML text."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)


def read_settings(path: str | Path) -> dict:
    """The nested settings in a YAML file, not yet checked.

    Raises:
        InputError: a missing file, or one that is no YAML mapping.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no recipe {path}: check the path, or look into recipes/.")
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from None
    if not isinstance(settings, dict):
        raise InputError(f"{path} holds no settings: a recipe is a YAML mapping such as 'train: {{epochs: 10}}'.")
    return settings


def set_path(settings: dict, path: str, value: object) -> None:
    """Sets `a.b.c` in nested settings, in place.

    Raises:
        InputError: something on the way is a plain value.
    """
    *groups, last = path.split(".")
    for group in groups:
        settings = settings.setdefault(group, {})
        if not isinstance(settings, dict):
            raise InputError(f"The setting {path!r} does not exist: {group!r} is a value, not a group.")
    settings[last] = value


def _check_names(settings: dict, owner: type, where: str) -> None:
    hints = typing.get_type_hints(owner)
    for key, value in settings.items():
        if key not in hints:
            raise InputError(f"The recipe has an unknown setting {where + str(key)!r}: {suggest(str(key), hints)}")
        _check_group(value, hints[key], where + key)
        for row_type in filter(dataclasses.is_dataclass, typing.get_args(hints[key])):
            if not isinstance(value, (list, tuple)):
                raise InputError(f"{where + key!r} is a list of groups of settings, not the value {value!r}.")
            for row in value:
                _check_group(row, row_type, where + key)


def _check_group(value: object, owner: type, where: str) -> None:
    if dataclasses.is_dataclass(owner):
        if not isinstance(value, dict):
            raise InputError(f"{where!r} is a group of settings, not the value {value!r}.")
        _check_names(value, owner, f"{where}.")


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value

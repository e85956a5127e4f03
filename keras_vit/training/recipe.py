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
from keras_vit.training.optimizers import Group, check_optimizer, check_schedule

PROVENANCE = "provenance"
"""The one key of a run's `recipe.yaml` that is a record and no setting: versions, git state, data fingerprint."""


@dataclass
class DataSettings:
    """Where images come from and how they are split.

    Attributes:
        spec: an image folder, a CSV, an `.npz`, `tfds:NAME[:config]` or `digits`.
        val_fraction: share of the images held out for validation where the data has no such split.
        test_fraction: likewise for the test.
        skip_bad: leave unreadable files out instead of stopping.
    """

    spec: str = "digits"
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    skip_bad: bool = False


@dataclass
class ModelSettings:
    """What is built. The names are those of `keras_vit.build`.

    Attributes:
        name: architecture.
        image_size: pixels, one number or [height, width]; by default the weights' own, else the family's.
        weights: what to start from: a tag, hf:owner/name, a URL, a file or folder; none draws random weights.
        head: which of the task's heads; its first by default.
        head_options: the head's own settings.
        pooling: `token`, `avg` or `map`.
        in_channels: 3, or 1 for grey.
        class_token: whether a learned token stands before the patches; the family's own by default.
        registers: number of learned tokens after it; the family's own by default.
        depth: number of blocks; the size's own by default.
        token_merging: patch tokens that are merged: a number for every block, a list, or block: number.
        window: side of the windows, in patches, that patches attend within, for large images; none by default.
        global_blocks: the blocks that attend everywhere all the same.
        drop_path: stochastic depth of the last block.
        dropout: in the encoder.
        init: `normal`, or `xavier` for narrow networks from scratch.
        position_init: `normal`, or `sincos` for learning from few images.
        zero_head: start the classifier at zero.
        preprocessing: `inception`, `imagenet` or `clip`; by default the weights' own, else the family's.
        crop: share of the image that evaluation's centre crop keeps; by default the record's own, or all of it where
            the task's outputs belong to places.
        fit: how images are fitted into the input, `crop`, `squash` or `pad`; by default as the task needs it.
    """

    name: str = "vit_s16"
    image_size: int | tuple[int, int] | None = None
    weights: str | None = None
    head: str | None = None
    head_options: dict[str, Any] | None = None
    pooling: str | None = None
    in_channels: int = 3
    class_token: bool | None = None
    registers: int | None = None
    depth: int | None = None
    token_merging: int | list[int] | dict[int, int] | None = None
    window: int | tuple[int, int] | None = None
    global_blocks: list[int] | None = None
    drop_path: float = 0.0
    dropout: float = 0.0
    init: str = "normal"
    position_init: str = "normal"
    zero_head: bool = False
    preprocessing: str | None = None
    crop: float | None = None
    fit: str | None = None


@dataclass
class TrainSettings:
    """How it learns.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per update, over all devices and micro-batches together; by default what is usual for the
            task: 64 for classification, 8 for segmentation and detection.
        optimizer: `adamw`, `sgd` (with Nesterov's momentum), `lion`, `muon` or `lamb`.
        optimizer_options: its own settings, by Keras's names, such as `{momentum: 0.95}` or `{beta_2: 0.98}`.
        schedule: of the learning rate after warm-up: `cosine`, `linear`, `constant`, `inverse_sqrt`, or `one_cycle`,
            which warms up in its own way.
        learning_rate: the peak, after warm-up.
        warmup_epochs: of linear growth from 0.
        final_learning_rate: where the schedule ends, as a share of the peak.
        weight_decay: decoupled, on kernels only (not biases, norms, tokens, positions).
        groups: variables that are treated apart, a list of `{match: REGEX, rate: 1, decay: 1, freeze: false}`; where
            several match, their factors multiply.
        sam: radius of sharpness-aware minimisation, such as 0.05; a step then costs two; 0 is off.
        clip_norm: the gradient's global norm is cut here; 0 is off.
        layer_decay: how much more slowly each layer learns than the one after it, for fine-tuning; 1 is off.
        head_rate: learning rate of the head as a multiple of the encoder's.
        label_smoothing: mass spread over all classes; by default what is usual for the task.
        ema: momentum of the average of the weights that is validated and kept; 0 is off.
        accumulate: micro-batches that a batch is cut into, to save memory.
        freeze: `none`, `backbone` (only the head learns) or n: all but the last n blocks.
        monitor: the figure that chooses the best epoch, such as `val_loss`; by default the task's first: `val_top1`,
            `val_miou`, `val_ap`.
        patience: epochs without a better figure before stopping; 0 never stops early.
        precision: `auto`, `float32`, `mixed_bfloat16` or `mixed_float16`.
        devices: `auto` (all GPUs, else the processor), `gpu:N`, or `cpu:N` logical devices.
    """

    epochs: int = 30
    batch_size: int | None = None
    optimizer: str = "adamw"
    optimizer_options: dict[str, Any] | None = None
    schedule: str = "cosine"
    learning_rate: float = 3e-4
    warmup_epochs: float = 2.0
    final_learning_rate: float = 0.01
    weight_decay: float = 0.05
    groups: list[Group] = field(default_factory=list)
    sam: float = 0.0
    clip_norm: float = 1.0
    layer_decay: float = 1.0
    head_rate: float = 1.0
    label_smoothing: float | None = None
    ema: float = 0.0
    accumulate: int = 1
    freeze: str | int = "none"
    monitor: str | None = None
    patience: int = 0
    precision: str = "auto"
    devices: str = "auto"

    def __post_init__(self):
        check_optimizer(self.optimizer, self.optimizer_options)
        check_schedule(self.schedule)
        for name in ("epochs", "batch_size", "accumulate"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InputError(f"train.{name} is at least 1, not {getattr(self, name)}.")
        for name in ("learning_rate", "head_rate", "layer_decay"):
            if getattr(self, name) <= 0:
                raise InputError(f"train.{name} is above 0, not {getattr(self, name)}.")
        if self.layer_decay > 1:
            raise InputError(f"train.layer_decay is at most 1, which treats all layers alike, not {self.layer_decay}.")
        for name in ("warmup_epochs", "final_learning_rate", "weight_decay", "sam", "clip_norm", "patience"):
            if getattr(self, name) < 0:
                raise InputError(f"train.{name} is at least 0, not {getattr(self, name)}.")
        for name in ("label_smoothing", "ema"):
            if not 0 <= (getattr(self, name) or 0) < 1:
                raise InputError(f"train.{name} is at least 0 and below 1, not {getattr(self, name)}.")


@dataclass
class Recipe:
    """A whole run.

    Attributes:
        data: where images come from.
        model: what is built.
        augment: what happens to training images.
        train: how it learns.
        seed: of splits, weights, shuffling, augmentation and masks.
        task: what is learned: `classification`, `segmentation` or `detection`.
        options: the task's own settings, the fields of its class.
        out: the run folder; by default a new one under `saved_models/`.
    """

    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    augment: Augment = field(default_factory=Augment)
    train: TrainSettings = field(default_factory=TrainSettings)
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

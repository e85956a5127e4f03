"""The groups of settings that a recipe is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from keras_vit.data.decoded import CACHES
from keras_vit.errors import InputError, suggest
from keras_vit.training.optimizers.groups import Group
from keras_vit.training.optimizers.schedules import check_schedule
from keras_vit.training.optimizers.table import check_optimizer


@dataclass
class DataSettings:
    """Where images come from and how they are split.

    Attributes:
        spec: an image folder, a folder that `keras-vit data pack` wrote, a CSV, an `.npz`, `tfds:NAME[:config]` or
            `digits`.
        val_fraction: share of the images held out for validation where the data has no such split.
        test_fraction: likewise for the test.
        skip_bad: leave files out that are unreadable at the start instead of stopping; one that becomes so later stops
            the run all the same, which goes on with `resume` when it is back.
        cache: where training images stay once they are decoded: `none`, `memory` or `disk` (under `KERAS_VIT_HOME`).
            What does not fit is not cached, which a note says. The batches are the same.
        cache_size: shrink what is cached until the shorter side has so many pixels, so that more fits; random crops
            are then of fewer pixels. For classification; by default nothing is shrunk.
    """

    spec: str = "digits"
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    skip_bad: bool = False
    cache: str = "none"
    cache_size: int | None = None

    def __post_init__(self):
        if self.cache not in CACHES:
            raise InputError(f"There is no data.cache {self.cache!r}: {suggest(self.cache, CACHES)}")
        if self.cache_size is not None and self.cache_size < 1:
            raise InputError(f"data.cache_size is at least 1 pixel, not {self.cache_size}.")
        if self.cache_size is not None and self.cache == "none":
            raise InputError("data.cache_size is for cached images: set data.cache to memory or disk.")


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
        remat: `block` computes the inside of each block again for the gradient, to save memory; none by default.
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
    remat: str | None = None
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
        keep: how many checkpoints stay.
        save_minutes: a checkpoint is written inside an epoch too when the last one is so old; 0 only at its end.
        back_off: how often the run may, when its loss is no number any more, go back to the last checkpoint and on with
            half the learning rate, before it stops.
        precision: `auto`, `float32`, `mixed_bfloat16` or `mixed_float16`.
        devices: `auto` (all GPUs, else the processor), `gpu:N`, `cpu:N` logical devices, or `workers`: all
            devices of the processes that `TF_CONFIG` or SLURM name.
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
    keep: int = 2
    save_minutes: float = 10.0
    back_off: int = 0
    precision: str = "auto"
    devices: str = "auto"

    def __post_init__(self):
        check_optimizer(self.optimizer, self.optimizer_options)
        check_schedule(self.schedule)
        for name in ("epochs", "batch_size", "accumulate", "keep"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InputError(f"train.{name} is at least 1, not {getattr(self, name)}.")
        for name in ("learning_rate", "head_rate", "layer_decay"):
            if getattr(self, name) <= 0:
                raise InputError(f"train.{name} is above 0, not {getattr(self, name)}.")
        if self.layer_decay > 1:
            raise InputError(f"train.layer_decay is at most 1, which treats all layers alike, not {self.layer_decay}.")
        not_negative = ("warmup_epochs", "final_learning_rate", "weight_decay", "sam", "clip_norm", "patience")
        for name in (*not_negative, "save_minutes", "back_off"):
            if getattr(self, name) < 0:
                raise InputError(f"train.{name} is at least 0, not {getattr(self, name)}.")
        for name in ("label_smoothing", "ema"):
            if not 0 <= (getattr(self, name) or 0) < 1:
                raise InputError(f"train.{name} is at least 0 and below 1, not {getattr(self, name)}.")


@dataclass
class LogSettings:
    """What TensorBoard and the report are given beyond the figures of each epoch.

    Attributes:
        looks: how many epochs are followed by pictures of what the model looks at in some validation images: spread
            evenly over the run, the first and the last among them; 0 none.
        embedding: validation images whose features TensorBoard's projector shows in the end, at most; 0 none.
        examples: so many of the worst and of the best examples the report shows, with what the model looked at; 0 none.
        every: steps from one entry of loss and figures to the next inside an epoch; 0 has them once an epoch.
        histograms: of every weight after each epoch; they take disk and time.
        profile: [first, last] step, counted from the start of the process, of which a profiler trace is taken; shown by
            TensorBoard where the package `xprof` is installed.
    """

    looks: int = 3
    embedding: int = 500
    examples: int = 6
    every: int = 0
    histograms: bool = False
    profile: list[int] | None = None

    def __post_init__(self):
        for name in ("looks", "embedding", "examples", "every"):
            if getattr(self, name) < 0:
                raise InputError(f"log.{name} is at least 0, not {getattr(self, name)}.")
        if self.profile is not None and (len(self.profile) != 2 or not 1 <= self.profile[0] <= self.profile[1]):
            raise InputError(f"log.profile is the first and the last step, such as [10, 20], not {self.profile}.")

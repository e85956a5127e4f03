"""How weights are moved: optimizers, schedules of the learning rate, and groups of variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from keras_vit.errors import InputError
from keras_vit.training.optimizers.groups import (
    Group,
    block_matrices,
    decay_scales,
    freeze_groups,
    group_rates,
    layer_norms,
    rate_scales,
)
from keras_vit.training.optimizers.schedules import SCHEDULES, check_schedule, make_schedule
from keras_vit.training.optimizers.table import OPTIMIZERS, check_optimizer

if TYPE_CHECKING:
    from keras_vit.training.settings import TrainSettings

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "Group",
    "block_matrices",
    "check_optimizer",
    "check_schedule",
    "decay_scales",
    "freeze_groups",
    "group_rates",
    "layer_norms",
    "make_optimizer",
    "make_schedule",
    "rate_scales",
]


def make_optimizer(
    settings: TrainSettings, steps_per_epoch: int, model: keras.Model, policy: str, *, summed: bool = False
) -> keras.optimizers.Optimizer:
    """The optimizer of a recipe, under loss scaling where the precision is float16.

    Args:
        settings: optimizer, schedule, rates and regularisation.
        steps_per_epoch: updates per epoch.
        model: the one that will be trained, with its final `trainable` flags.
        policy: Keras dtype policy of the model.
        summed: whether its gradients come summed over the replicas, as those of `TrainingModel` do.

    Raises:
        InputError: an option that the optimizer refuses.
    """
    options = check_optimizer(settings.optimizer, settings.optimizer_options)
    if settings.optimizer == "muon":
        options["orthogonal"] = block_matrices(model)
    try:
        optimizer = OPTIMIZERS[settings.optimizer].made(
            make_schedule(settings, steps_per_epoch),
            weight_decay=settings.weight_decay,
            global_clipnorm=settings.clip_norm or None,
            use_ema=settings.ema > 0,
            ema_momentum=settings.ema or 0.99,
            rate_scales=rate_scales(model, settings.layer_decay, settings.head_rate, settings.groups),
            decay_scales=decay_scales(model, settings.groups),
            summed=summed,
            **options,
        )
    except ValueError as error:
        raise InputError(f"train.optimizer_options do not fit {settings.optimizer}: {error}") from None
    # Keras wraps by itself only when the global policy is float16; a model's own policy would go unscaled.
    return keras.optimizers.LossScaleOptimizer(optimizer) if policy == "mixed_float16" else optimizer

"""Learning rates over a run: linear warm-up, then one of several shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import keras
from keras import ops

from keras_vit.errors import InputError, suggest

if TYPE_CHECKING:
    from keras_vit.training.settings import TrainSettings

CYCLE_RISE, CYCLE_START = 0.3, 1 / 25
"""One-cycle: the share of the run that it rises, and the rate that it starts from as a share of the peak."""


def _between(start, end, way):
    """From start to end along half a cosine, as `way` goes from 0 to 1."""
    return end + (start - end) * 0.5 * (1 + ops.cos(math.pi * way))


def _cosine(step, warmup, total, final):
    return _between(1.0, final, (step - warmup) / (total - warmup))


def _linear(step, warmup, total, final):
    return 1 - (1 - final) * (step - warmup) / (total - warmup)


def _constant(step, warmup, total, final):
    return ops.ones_like(step)


def _inverse_sqrt(step, warmup, total, final):
    start = max(warmup, 1)
    return ops.maximum(ops.sqrt(start / ops.maximum(step, start)), final)


def _one_cycle(step, warmup, total, final):
    top = CYCLE_RISE * total
    return ops.where(
        step < top,
        _between(CYCLE_START, 1.0, step / top),
        _between(1.0, final, (step - top) / (total - top)),
    )


SCHEDULES: dict[str, Callable] = {
    "cosine": _cosine,
    "linear": _linear,
    "constant": _constant,
    "one_cycle": _one_cycle,
    "inverse_sqrt": _inverse_sqrt,
}
"""Name -> share of the peak, a function of step, warm-up steps, all steps and the final share.

`cosine` (Loshchilov & Hutter, 2017) and `linear` end at the final share. `constant` stays at the peak. `inverse_sqrt`
falls as 1 / sqrt(step) (Vaswani et al., 2017), not below the final share. `one_cycle` (Smith & Topin, 2018) rises for
30 % of the run from 1/25 of the peak, which is its warm-up, and falls to the final share, both along a cosine.
"""


@keras.saving.register_keras_serializable(package="keras_vit")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of a step.

    Args:
        shape: a name of `SCHEDULES`.
        peak: the highest rate.
        warmup: steps of linear growth from 0; `one_cycle` has a rise of its own.
        total: steps of the run; the rate then stays.
        final: the last rate as a share of the peak.
    """

    def __init__(self, shape: str, peak: float, warmup: int, total: int, final: float):
        self.shape, self.peak, self.warmup, self.total, self.final = shape, peak, warmup, total, final

    def __call__(self, step):
        """() integer -> () float32."""
        step = ops.minimum(ops.cast(step, "float32"), float(self.total))
        share = SCHEDULES[self.shape](step, self.warmup, self.total, self.final)
        if self.warmup and self.shape != "one_cycle":
            share = ops.where(step < self.warmup, step / self.warmup, share)
        return self.peak * share

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {name: getattr(self, name) for name in ("shape", "peak", "warmup", "total", "final")}


def check_schedule(name: str) -> None:
    """Makes sure that a schedule exists.

    Raises:
        InputError: it does not.
    """
    if name not in SCHEDULES:
        raise InputError(f"train.schedule {name!r} is not known: {suggest(name, SCHEDULES)}")


def make_schedule(settings: TrainSettings, steps_per_epoch: int) -> Schedule:
    """The schedule of a recipe.

    Args:
        settings: shape, peak, warm-up, final share and epochs.
        steps_per_epoch: updates per epoch.
    """
    total = settings.epochs * steps_per_epoch
    warmup = max(min(round(settings.warmup_epochs * steps_per_epoch), total - 1), 0)
    return Schedule(settings.schedule, settings.learning_rate, warmup, total, settings.final_learning_rate)

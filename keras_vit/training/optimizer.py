"""AdamW with warm-up and cosine decay, as ViTs are trained."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import ops

from keras_vit.training.rates import rate_scales
from keras_vit.training.recipe import TrainSettings


def make_schedule(settings: TrainSettings, steps_per_epoch: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up from 0, then a cosine to `final_learning_rate` times the peak (Loshchilov & Hutter, 2017).

    Args:
        settings: peak, warm-up and epochs.
        steps_per_epoch: updates per epoch.
    """
    total = settings.epochs * steps_per_epoch
    warmup = min(round(settings.warmup_epochs * steps_per_epoch), total - 1)
    if warmup < 1:
        return keras.optimizers.schedules.CosineDecay(settings.learning_rate, total, settings.final_learning_rate)
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        total - warmup,
        alpha=settings.final_learning_rate,
        warmup_target=settings.learning_rate,
        warmup_steps=warmup,
    )


@keras.saving.register_keras_serializable(package="keras_vit")
class WholeBatchAdamW(keras.optimizers.AdamW):
    """AdamW that clips the gradient of the whole batch, not of each device's share, and knows layer-wise rates.

    Keras clips inside each replica, before the gradients are added up: on N devices the limit would be up to N times
    as high, and the same recipe would train differently.

    Args:
        rate_scales: a factor of the learning rate, and so of the weight decay, for each variable in the order in which
            the optimizer is built with them; None for 1.
        kwargs: of `keras.optimizers.AdamW`.
    """

    def __init__(self, *args, rate_scales: Sequence[float] | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.rate_scales = None if rate_scales is None else list(rate_scales)

    def update_step(self, gradient, variable, learning_rate):
        """Decays the variable, then steps, both at the variable's own rate."""
        if self.rate_scales is not None:
            learning_rate = learning_rate * self.rate_scales[self._get_variable_index(variable)]
        if self._use_weight_decay(variable):
            rate, decay = (ops.cast(value, variable.dtype) for value in (learning_rate, self.weight_decay))
            self.assign_sub(variable, ops.multiply(variable, rate * decay))
        super().update_step(gradient, variable, learning_rate)

    def _apply_weight_decay(self, variables):
        """Nothing: `update_step` decays, because only it knows the variable's rate."""

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "rate_scales": self.rate_scales}

    def _clip_gradients(self, grads):
        context = tf.distribute.get_replica_context()
        if not self.global_clipnorm or context is None or context.num_replicas_in_sync == 1:
            return super()._clip_gradients(grads)
        norm = tf.linalg.global_norm(context.all_reduce(tf.distribute.ReduceOp.SUM, grads))
        scale = self.global_clipnorm / tf.maximum(norm, self.global_clipnorm)
        return [grad * scale for grad in grads]


def make_optimizer(
    settings: TrainSettings, steps_per_epoch: int, model: keras.Model, policy: str
) -> keras.optimizers.Optimizer:
    """AdamW whose weight decay touches kernels only, under loss scaling where the precision is float16.

    Args:
        settings: rates and regularisation.
        steps_per_epoch: updates per epoch.
        model: the one that will be trained, with its final `trainable` flags.
        policy: Keras dtype policy of the model.
    """
    optimizer = WholeBatchAdamW(
        make_schedule(settings, steps_per_epoch),
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.clip_norm or None,
        use_ema=settings.ema > 0,
        ema_momentum=settings.ema or 0.99,
        rate_scales=rate_scales(model, settings.layer_decay, settings.head_rate),
    )
    optimizer.exclude_from_weight_decay(var_list=[v for v in model.trainable_variables if v.name != "kernel"])
    # Keras wraps by itself only when the global policy is float16; a model's own policy would go unscaled.
    return keras.optimizers.LossScaleOptimizer(optimizer) if policy == "mixed_float16" else optimizer

"""What every optimizer of the table can do beyond Keras's own."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from keras import ops


class WholeBatch:
    """A mixin of Keras optimizers: clips by the whole batch's norm, and steps and decays each variable by its own rate.

    Keras clips inside each replica, before the gradients are added up: on N devices the limit would be up to N times
    as high, and the same recipe would train differently. Weight decay is decoupled (Loshchilov & Hutter, 2019) for
    all optimizers: a variable shrinks by rate x decay of itself before it steps.

    Args:
        rate_scales: a factor of the learning rate, and so of the weight decay, for each variable in the order in which
            the optimizer is built with them; None for 1.
        decay_scales: a further factor of the weight decay likewise; 0 spares a variable. Unlike what Keras's
            `exclude_from_weight_decay` was told, it is saved with the optimizer.
        summed: whether gradients come summed over the replicas, as those of `TrainingModel` do; then they are not
            summed a second time.
        kwargs: of the Keras optimizer.

    Raises:
        ValueError: on building, as many factors as variables were not given.
    """

    def __init__(
        self,
        *args,
        rate_scales: Sequence[float] | None = None,
        decay_scales: Sequence[float] | None = None,
        summed: bool = False,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.rate_scales = None if rate_scales is None else list(rate_scales)
        self.decay_scales = None if decay_scales is None else list(decay_scales)
        self.summed = summed

    def build(self, variables):
        """Makes the slots."""
        for scales in (self.rate_scales, self.decay_scales):
            if scales is not None and len(scales) != len(variables):
                raise ValueError(f"{len(scales)} factors were given for {len(variables)} variables.")
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        """Decays the variable, then steps, both at the variable's own rate."""
        rate = ops.cast(learning_rate * self.rate_scale(variable), variable.dtype)
        self.decay_step(variable, rate)
        super().update_step(gradient, variable, rate)

    def decay_step(self, variable, rate) -> None:
        """Shrinks the variable by rate x decay of itself."""
        decay = self.decay_of(variable)
        if decay:
            self.assign_sub(variable, ops.multiply(variable, rate * decay))

    def rate_scale(self, variable) -> float:
        """The factor of a variable's learning rate."""
        return 1.0 if self.rate_scales is None else self.rate_scales[self._get_variable_index(variable)]

    def decay_of(self, variable) -> float:
        """The weight decay of a variable, still to be multiplied by its rate."""
        if not self.weight_decay or not self._use_weight_decay(variable):
            return 0.0
        scale = 1.0 if self.decay_scales is None else self.decay_scales[self._get_variable_index(variable)]
        return self.weight_decay * scale

    def get_config(self) -> dict:
        """The constructor's arguments."""
        scales = {name: getattr(self, name) for name in ("rate_scales", "decay_scales")}
        lists = {name: None if values is None else list(values) for name, values in scales.items()}
        return {**super().get_config(), **lists, "summed": self.summed}

    def _apply_weight_decay(self, variables):
        """Nothing: `update_step` decays, because only it knows the variable's rate."""

    def _clip_gradients(self, grads):
        if not self.global_clipnorm:
            return super()._clip_gradients(grads)
        norm = tf.linalg.global_norm(grads if self.summed else sum_over_replicas(grads))
        scale = self.global_clipnorm / tf.maximum(norm, self.global_clipnorm)
        return [grad * scale for grad in grads]

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return list(grads_and_vars) if self.summed else super()._all_reduce_sum_gradients(grads_and_vars)


def sum_over_replicas(tensors: list) -> list:
    """The sums of tensors over all replicas, on each of them; the tensors themselves where there is one replica."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)

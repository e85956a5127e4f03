"""The optimizers by name: Keras's own, each with the same additions."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_vit.errors import InputError, suggest
from keras_vit.training.optimizers.whole_batch import WholeBatch

registered = keras.saving.register_keras_serializable(package="keras_vit")


@registered
class AdamW(WholeBatch, keras.optimizers.AdamW):
    """AdamW (Loshchilov & Hutter, 2019). Arguments: of `WholeBatch` and `keras.optimizers.AdamW`."""

    def update_step(self, gradient, variable, learning_rate):
        """One step, by TensorFlow's one kernel for it instead of Keras's fifteen operators a variable."""
        if self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        index, kind = self._get_variable_index(variable), variable.dtype
        rate = ops.cast(learning_rate * self.rate_scale(variable), kind)
        self.decay_step(variable, rate)
        step = ops.cast(self.iterations + 1, kind)
        tf.raw_ops.ResourceApplyAdam(
            var=_resource(variable),
            m=_resource(self._momentums[index]),
            v=_resource(self._velocities[index]),
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=ops.cast(gradient, kind),
        )


def _resource(variable):
    """The handle of a variable, on this replica's device."""
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle


@registered
class SGD(WholeBatch, keras.optimizers.SGD):
    """SGD with momentum. As in Keras the velocity holds the learning rate, so a change of rate acts with a delay.

    Arguments: of `WholeBatch` and `keras.optimizers.SGD`.
    """


@registered
class Lion(WholeBatch, keras.optimizers.Lion):
    """Lion (Chen et al., 2023): the sign of a moving average. It wants a third to a tenth of AdamW's learning rate and
    three to ten times its weight decay.

    Arguments: of `WholeBatch` and `keras.optimizers.Lion`.
    """


@registered
class Muon(WholeBatch, keras.optimizers.Muon):
    """Muon (Jordan et al., 2024), scaled so that AdamW's learning rate and decay fit (Liu et al., 2025).

    The momentum of a matrix is made orthogonal before it is applied; what is not such a matrix takes AdamW's step.
    Keras chooses by shape and by words in the path, which would send the head's and other matrices to Muon; here the
    caller says which variables take it.

    Args:
        orthogonal: for each variable, in the order in which the optimizer is built with them, whether it takes Muon's
            step; None leaves the choice to Keras.
        kwargs: of `WholeBatch` and `keras.optimizers.Muon`; `weight_decay` is that of both steps.
    """

    def __init__(self, *args, orthogonal: Sequence[bool] | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.orthogonal = None if orthogonal is None else list(orthogonal)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "orthogonal": None if self.orthogonal is None else list(self.orthogonal)}

    def _should_use_adamw(self, variable):
        if self.orthogonal is None:
            return super()._should_use_adamw(variable)
        return not self.orthogonal[self._get_variable_index(variable)]


@registered
class Lamb(WholeBatch, keras.optimizers.Lamb):
    """LAMB (You et al., 2020): Adam's step, as long as the variable is large.

    As in the paper weight decay is part of the update whose length is compared with the variable's; Keras's own decays
    outside, where the ratio does not see it. As in the authors' code, variables that never decay (norms, biases) keep
    Adam's length.

    Arguments: of `WholeBatch` and `keras.optimizers.Lamb`.
    """

    def update_step(self, gradient, variable, learning_rate):
        """One step; the decay enters the update before its length is taken."""
        index, beta_1, beta_2 = self._get_variable_index(variable), self.beta_1, self.beta_2
        rate = ops.cast(learning_rate * self.rate_scale(variable), variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        mean, square = self._momentums[index], self._velocities[index]
        self.assign_add(mean, (gradient - mean) * (1 - beta_1))
        self.assign_add(square, (ops.square(gradient) - square) * (1 - beta_2))
        root = ops.sqrt(square / (1 - ops.power(beta_2, step))) + self.epsilon
        update = mean / (1 - ops.power(beta_1, step)) / root + self.decay_of(variable) * variable
        if self.decay_scales is None or self.decay_scales[index]:
            length, own = ops.norm(ops.reshape(update, [-1])), ops.norm(ops.reshape(variable, [-1]))
            known = ops.logical_and(length > 0, own > 0)
            update = update * ops.where(known, own / ops.where(known, length, 1.0), 1.0)
        self.assign_sub(variable, rate * update)


@dataclass(frozen=True)
class Row:
    """An optimizer of the table.

    Attributes:
        made: its class.
        defaults: what differs from Keras's defaults.
    """

    made: type[keras.optimizers.Optimizer]
    defaults: dict[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """Name -> default of what `train.optimizer_options` may set: what no setting of the recipe stands for."""
        parameters = inspect.signature(self.made.__mro__[2].__init__).parameters.values()
        given = {p.name: p.default for p in parameters if isinstance(p.default, (bool, int, float))}
        return {name: value for name, value in given.items() if name not in _OURS} | self.defaults


_OURS = {
    *("learning_rate", "weight_decay", "adam_weight_decay", "use_ema", "ema_momentum", "exclude_embeddings"),
    *("clipnorm", "clipvalue", "global_clipnorm"),
}

OPTIMIZERS: dict[str, Row] = {
    "adamw": Row(AdamW),
    "sgd": Row(SGD, {"momentum": 0.9, "nesterov": True}),
    "lion": Row(Lion),
    "muon": Row(Muon, {"adam_lr_ratio": 1.0}),
    "lamb": Row(Lamb),
}
"""Name in a recipe -> optimizer."""


def check_optimizer(name: str, options: dict[str, Any] | None) -> dict[str, Any]:
    """The arguments of an optimizer of the table, defaults included.

    Raises:
        InputError: an unknown optimizer, an option that it does not have, or a value of the wrong type.
    """
    if name not in OPTIMIZERS:
        raise InputError(f"train.optimizer {name!r} is not known: {suggest(name, OPTIMIZERS)}")
    row, checked = OPTIMIZERS[name], {}
    for option, value in (options or {}).items():
        if option not in row.options:
            raise InputError(f"{name} has no option {option!r}: {suggest(option, row.options)}")
        kind = type(row.options[option])
        accepted = (int, float) if kind is float else kind
        if not isinstance(value, accepted) or isinstance(value, bool) != (kind is bool):
            raise InputError(f"The option {option} of {name} is of type {kind.__name__}, not {value!r}.")
        checked[option] = kind(value)
    return row.defaults | checked

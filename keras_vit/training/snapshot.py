"""Every variable that training changes, as named arrays and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf

from keras_vit.errors import InputError

METRICS = "metrics"


def take(model: keras.Model) -> dict[str, np.ndarray]:
    """What a compiled model holds, copied: weights, states of random generators, optimizer (moments, average of the
    weights, loss scale, iteration, from which the schedule's place follows) and the running averages of metrics.

    Returns:
        Arrays by `group/number/name`; the number is the variable's place in its group.
    """
    return {name: array for group, variables in _groups(model).items() for name, array in _copied(group, variables)}


def take_metrics(model: keras.Model) -> dict[str, np.ndarray]:
    """The part of `take` that belongs to metrics."""
    return dict(_copied(METRICS, model.metrics_variables))


def put(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Gives a compiled model, its optimizer built, back what `take` took of it, but for the metrics.

    Raises:
        InputError: the arrays are those of another model or optimizer; nothing is changed then.
    """
    groups = _groups(model)
    groups.pop(METRICS)
    wanted = {name: v for group, variables in groups.items() for name, v in _named(group, variables).items()}
    given = {name: array for name, array in arrays.items() if not name.startswith(f"{METRICS}/")}
    odd = sorted(wanted.keys() ^ given.keys()) or [n for n, v in wanted.items() if tuple(v.shape) != given[n].shape]
    if odd:
        raise InputError(
            f"The checkpoint does not fit this recipe ({odd[0]} is not the same): resume with the run's own, which is "
            "taken when no other is given."
        )
    for name, variable in wanted.items():
        variable.assign(given[name])


def put_metrics(model: keras.Model, arrays: Mapping[str, np.ndarray], targets: tf.TypeSpec) -> None:
    """Gives metrics their running averages back.

    Keras makes the variables of metrics when they first see a batch, so they are shown an empty one.

    Args:
        model: compiled.
        arrays: from `take`.
        targets: form of a batch of targets, with its size.
    """
    predictions = keras.tree.map_structure(lambda output: tf.zeros((targets.shape[0], *output.shape[1:])), model.output)
    blank = tf.zeros(targets.shape, targets.dtype)
    model.distribute_strategy.run(lambda: model.compute_metrics(None, blank, predictions))
    for name, variable in _named(METRICS, model.metrics_variables).items():
        variable.assign(arrays[name])


def finite(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether all numbers of a snapshot, but for its metrics, are finite."""
    return all(
        np.isfinite(array).all()
        for name, array in arrays.items()
        if array.dtype.kind == "f" and not name.startswith(f"{METRICS}/")
    )


def _groups(model: keras.Model) -> dict[str, list]:
    metrics, weights = model.metrics_variables, model.weights
    counted = {id(variable) for variable in (*metrics, *weights)}
    return {
        "weights": weights,
        # All that Keras counts neither as weights nor as metrics.
        "generators": [variable for variable in model.variables if id(variable) not in counted],
        "optimizer": model.optimizer.variables,
        METRICS: metrics,
    }


def _copied(group: str, variables: list) -> Iterator[tuple[str, np.ndarray]]:
    for name, variable in _named(group, variables).items():
        yield name, np.array(keras.ops.convert_to_numpy(variable))


def _named(group: str, variables: list) -> dict[str, keras.Variable]:
    return {f"{group}/{number:04d}/{variable.name}": variable for number, variable in enumerate(variables)}

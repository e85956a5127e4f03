"""Which variables learn, how fast, and which of them decay."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import keras
import numpy as np

from keras_vit.encoder import EMBEDDING_LAYERS
from keras_vit.errors import InputError
from keras_vit.heads import HEAD_LAYERS
from keras_vit.layers import EncoderBlock


@dataclass
class Group:
    r"""Variables that are treated apart.

    Several groups may match a variable: their factors multiply, with each other and with those of `layer_decay` and
    `head_rate`, and one that freezes it is enough.

    Attributes:
        match: a regular expression that is searched for in the variable's path, such as `block_\d+/attention/`.
        rate: a factor of the learning rate, and with it of the weight decay.
        decay: a factor of the weight decay; norms, biases, tokens, positions and LayerScale have none to begin with.
        freeze: the variables do not learn.
    """

    match: str = ""
    rate: float = 1.0
    decay: float = 1.0
    freeze: bool = False

    def __post_init__(self):
        try:
            re.compile(self.match)
        except re.error as error:
            raise InputError(f"match {self.match!r} of train.groups is no regular expression: {error}.") from None
        if not self.match:
            raise InputError("Each of train.groups says what it matches: set its match, '.' for all variables.")
        if self.rate <= 0:
            raise InputError(f"rate of train.groups is above 0, not {self.rate}: use freeze to stop {self.match!r}.")
        if self.decay < 0:
            raise InputError(f"decay of train.groups is at least 0, not {self.decay}.")

    def holds(self, variable: keras.Variable) -> bool:
        """Whether a variable belongs to it."""
        return re.search(self.match, variable.path) is not None


def freeze_groups(model: keras.Model, groups: Iterable[Group]) -> None:
    """Takes the variables of the groups that freeze out of `model.trainable_variables`; call it after `freeze`.

    They then have no gradient, no optimizer slots, no decay and no average of their own.

    Raises:
        InputError: a group matches no variable, or none is left to learn.
    """
    for group in groups:
        held = [variable for variable in model.weights if group.holds(variable)]
        if not held:
            paths = [variable.path for variable in model.weights]
            some = ", ".join(paths[:: max(1, len(paths) // 8)])
            raise InputError(f"match {group.match!r} of train.groups finds no variable: they are called {some}.")
        if group.freeze:
            for variable in held:
                variable.trainable = False
    if not model.trainable_variables:
        raise InputError("Everything is frozen: narrow what train.groups or train.freeze stop.")


def rate_scales(model: keras.Model, layer_decay: float, head_rate: float, groups: Iterable[Group] = ()) -> list[float]:
    """A factor of the learning rate for each trainable variable, in the order of `model.trainable_variables`.

    The embeddings are layer 0, block i is layer i + 1, and what follows is the last; a layer's factor is `layer_decay`
    to the power of its distance from the last one (Clark et al., 2020; Bao et al., 2022).

    Args:
        model: made by `keras_vit.build`, with its final `trainable` flags.
        layer_decay: at most 1, which treats all alike.
        head_rate: a further factor of the head's layers.
        groups: further factors.
    """
    blocks = [layer for layer in model.layers if isinstance(layer, EncoderBlock)]
    levels = dict.fromkeys(EMBEDDING_LAYERS, 0) | {block.name: i for i, block in enumerate(blocks, start=1)}
    last = len(blocks) + 1
    factors = {}
    for layer in model.layers:
        factor = layer_decay ** (last - levels.get(layer.name, last)) * (head_rate if layer.name in HEAD_LAYERS else 1)
        factors |= {id(variable): factor for variable in layer.trainable_variables}
    variables = model.trainable_variables
    own = [np.prod([group.rate for group in groups if group.holds(variable)]) for variable in variables]
    return [float(factors[id(variable)] * more) for variable, more in zip(variables, own, strict=True)]


def decay_scales(model: keras.Model, groups: Iterable[Group] = ()) -> list[float]:
    """A factor of the weight decay for each trainable variable: 0 for all but kernels, else that of the groups."""
    return [
        float(np.prod([group.decay for group in groups if group.holds(variable)])) if variable.name == "kernel" else 0.0
        for variable in model.trainable_variables
    ]


def block_matrices(model: keras.Model) -> list[bool]:
    """For each trainable variable, whether it is a matrix that maps features to features inside a block.

    These take Muon's step: not embeddings, tokens, tables of positions, biases, norms, or the head.
    """
    blocks = (layer for layer in model.layers if isinstance(layer, EncoderBlock))
    inside = {id(variable) for block in blocks for variable in block.trainable_variables}
    return [id(v) in inside and v.name == "kernel" and len(v.shape) == 2 for v in model.trainable_variables]


def group_rates(optimizer: keras.optimizers.Optimizer, model: keras.Model) -> dict[str, float]:
    """The learning rates now, by layer; a layer whose variables differ has one entry for each factor, as `head@0.1`.

    Args:
        optimizer: of the table, also under loss scaling.
        model: that it was built for.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    scales: dict[str, set[float]] = {}
    for variable in model.trainable_variables:
        scales.setdefault(_layer_of(variable), set()).add(inner.rate_scale(variable))
    rate = float(np.asarray(optimizer.learning_rate))
    return {
        layer if len(found) == 1 else f"{layer}@{scale:g}": rate * scale
        for layer, found in scales.items()
        for scale in sorted(found)
    }


def layer_norms(model: keras.Model, values: Iterable | None = None) -> dict[str, float]:
    """The Euclidean norm of each layer's trainable variables, or of other arrays that stand for them.

    Args:
        model: made by `keras_vit.build`.
        values: one array for each of `model.trainable_variables`, such as their gradients; by default the variables.
    """
    variables = model.trainable_variables
    squares: dict[str, float] = {}
    for variable, value in zip(variables, variables if values is None else values, strict=True):
        layer = _layer_of(variable)
        squares[layer] = squares.get(layer, 0.0) + float(np.square(np.asarray(value, "float64")).sum())
    return {layer: float(np.sqrt(square)) for layer, square in squares.items()}


def _layer_of(variable: keras.Variable) -> str:
    return variable.path.split("/")[0]

"""Layers that are alike are traced once: TensorFlow then meets one block where it would meet twelve.

Most of the time from `fit` to the end of the first step goes into Python, which writes every operator of the step and
of its gradient into a graph. A function that all blocks call, each with weights of its own, is written once, and so is
its gradient. TensorFlow puts it in the place of every call before the graph runs, so that the steps are what they were.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Sequence

import keras

_FUNCTIONS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
"""Graph that is being traced -> form -> function: a graph that is gone needs none any more."""


def traced_once(layer: keras.Layer, form: Hashable, body: Callable, tensors: Sequence):
    """`body(*tensors)`; in a graph of TensorFlow by the function of the first layer of this form that was met there.

    Args:
        layer: whose weights `body` uses; it uses no other variables and changes none.
        form: layers of one form compute the same but for their weights.
        body: from tensors to a tensor or a tuple of them.
        tensors: what it is given.
    """
    import tensorflow as tf

    if tf.executing_eagerly():
        return body(*tensors)
    known = _FUNCTIONS.setdefault(tf.compat.v1.get_default_graph(), {})
    if form not in known:
        variables = layer.weights

        @tf.function(autograph=False)
        def function(weights, *given):
            with keras.StatelessScope(state_mapping=list(zip(variables, weights, strict=True))):
                return body(*given)

        known[form] = function
    return known[form]([weight.value for weight in layer.weights], *tensors)

"""The graph that is shipped: what the model computes, in the operations that edge devices run fastest."""

from __future__ import annotations

import keras
import tensorflow as tf

from keras_vit.export.graph.emission import OUTPUT, ExportGraph, Finish
from keras_vit.export.graph.float32 import float32_copy
from keras_vit.export.graph.network import Network
from keras_vit.export.graph.reading import read
from keras_vit.export.graph.rewrites import optimise

__all__ = ["OUTPUT", "ExportGraph", "Finish", "Network", "export_graph", "float32_copy", "named", "optimise", "read"]


def export_graph(
    model: keras.Model,
    *,
    batch: int | None = None,
    integer: bool = False,
    softmax: bool = True,
    finish: Finish | None = None,
) -> ExportGraph:
    """The inference form of a model: float32, and rewritten so that it computes the same with less.

    Normalisation is folded into the patch embedding, LayerScale and the affine part of every LayerNorm into the maps
    beside them, the residual stream is centred, and the last block computes the class token alone where nothing else
    is read. Heads other than the classifier are written as their layers are. Nothing of the model is changed.

    Args:
        model: made by `keras_vit.build`, pixels (B, H, W, channels) -> its task's outputs.
        batch: images a call, None for any number.
        integer: see `ExportGraph`.
        softmax: give probabilities instead of logits.
        finish: what is made of the model's outputs, in place of a softmax; a task's is `Task.shipped`.

    Raises:
        InputError: the model has layers that `keras_vit.build` does not make.
    """
    return ExportGraph(optimise(read(model)), batch=batch, integer=integer, softmax=softmax, finish=finish)


def named(outputs: tf.Tensor | dict[str, tf.Tensor], name: str = OUTPUT) -> dict[str, tf.Tensor]:
    """A graph's outputs by name; a single one that has none gets this one."""
    return outputs if isinstance(outputs, dict) else {name: outputs}

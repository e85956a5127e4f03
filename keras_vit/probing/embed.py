"""Features of images: what a model's classifier is given, or its last tokens pooled another way."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from keras_vit.build import preprocessing_of
from keras_vit.data import Examples, image_dataset
from keras_vit.errors import InputError, suggest
from keras_vit.layers import EncoderBlock, PatchEmbedding, TokenPooling
from keras_vit.preprocessing import Preprocessing
from keras_vit.tasks.task import shown

POOLINGS = ("token", "avg", "both")
"""Other poolings than a model's own: the class token, the mean of the patches, or one beside the other, as DINOv2's
linear evaluation takes them (Oquab et al., 2024, `dinov2/eval/linear.py`)."""


class Embedder:
    """A model as a function from images to one vector each. It runs the model's own layers: nothing is copied, and
    what the model learns afterwards shows in the vectors, so that training may keep one and ask it after each epoch.

    Args:
        model: made by `keras_vit.build` for any task, or reloaded.
        pooling: one of `POOLINGS`; None takes what the model's classifier is given (of distilled models the mean of
            both tokens, of MAP heads the pooled query), the output of a model without classes, and of models that
            answer for places of the image the mean of the patches. The model's last normalisation stands where it is
            in the model: before the pooling, or after it.

    Attributes:
        preprocessing: how images are prepared for it, the model's own record.
        width: D, the length of a vector.

    Raises:
        InputError: not a model of this package, one without a preprocessing record, an unknown pooling, or no class
            token where one is asked for.
    """

    def __init__(self, model: keras.Model, pooling: str | None = None):
        named = {layer.name: layer for layer in model.layers} if isinstance(model, keras.Model) else {}
        if not isinstance(named.get("patch_embedding"), PatchEmbedding):
            given = repr(getattr(model, "name", model))
            raise InputError(f"Features are taken of a model made by keras_vit.build, and {given:.80} is none.")
        self.preprocessing: Preprocessing = preprocessing_of(model)
        encoder = keras.Model(model.input, _own(model, named) if pooling is None else _pooled(model, named, pooling))
        self.width: int = encoder.output.shape[-1]
        # Any number of images, so that the last batch is not traced and compiled once more.
        pixels = tf.TensorSpec((None, *model.input.shape[1:]), tf.float32)
        self._embed = tf.function(
            lambda images: tf.cast(encoder(images, training=False), tf.float32), input_signature=[pixels]
        )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Images (B, H, W, channels) at the model's size, pixels 0..255 -> features (B, D) float32."""
        return self._embed(tf.cast(images, tf.float32)).numpy()

    def embed(self, examples: Examples, *, batch_size: int = 64, progress: bool = True) -> np.ndarray:
        """Features of examples; see `embed`."""
        dataset = image_dataset(examples, self.preprocessing, batch_size=batch_size)
        batches = shown(dataset, -(-len(examples) // batch_size), progress, "embedding")
        return np.concatenate([self(images) for images in batches])


def embed(
    model: keras.Model,
    examples: Examples,
    *,
    pooling: str | None = None,
    batch_size: int = 64,
    progress: bool = True,
) -> np.ndarray:
    """The features of images, prepared as the model's record says.

    Args:
        model: made by `keras_vit.build` for any task, or reloaded. To embed often, keep an `Embedder`.
        examples: any images; labels are not looked at.
        pooling: as `Embedder` takes it; the model's own by default.
        batch_size: images at a time.
        progress: show a bar.

    Returns:
        (n, D) float32 in the order of the examples; 2D for the pooling `both`.

    Raises:
        InputError: as of `Embedder`, or there are no examples, or batch_size is below 1.
    """
    return Embedder(model, pooling).embed(examples, batch_size=batch_size, progress=progress)


def _own(model: keras.Model, named: Mapping[str, keras.Layer]) -> keras.KerasTensor:
    """Symbolic (B, D): what the classifiers are given; without classifiers the output; without pooling the patches."""
    if "pool" not in named:
        return _pooled(model, named, "avg")
    given = [named[name].input for name in ("head", "head_distilled") if name in named]
    if len(given) < 2:
        return given[0] if given else model.output
    return keras.layers.Average(dtype="float32")(given)


def _pooled(model: keras.Model, named: Mapping[str, keras.Layer], pooling: str) -> keras.KerasTensor:
    """Symbolic (B, D) or (B, 2D): the last tokens in one of the ways of `POOLINGS`.

    Raises:
        InputError: an unknown pooling, or no class token where one is asked for.
    """
    if pooling not in POOLINGS:
        raise InputError(f"There is no pooling {pooling!r} of features: {suggest(pooling, POOLINGS)}")
    if pooling != "avg" and "class_token" not in named:
        raise InputError(f"{model.name} has no class token, which pooling {pooling!r} takes: use 'avg', or leave it.")
    if pooling == "both":
        sides = [_pooled(model, named, side) for side in ("token", "avg")]
        return keras.layers.Concatenate(dtype="float32")(sides)
    tokens, norm = _tokens(model, named)
    prefix = next(layer.prefix for layer in model.layers if isinstance(layer, EncoderBlock))
    found = [TokenPooling(pooling, prefix, dtype="float32")(*tokens)]
    if pooling == "token" and "pool_distilled" in named:
        found.append(TokenPooling("token", prefix, index=1, dtype="float32")(*tokens))
    found = found[0] if len(found) == 1 else keras.layers.Average(dtype="float32")(found)
    return norm(found) if norm else found


def _tokens(model: keras.Model, named: Mapping[str, keras.Layer]) -> tuple[list, keras.Layer | None]:
    """What a pooling is given: tokens, and their sizes where some were merged; and the norm after it, if any."""
    if "pool" in named:
        given = named["pool"].input
        names = [layer.name for layer in model.layers]
        after = names.index("norm") > names.index("pool")
        return list(given) if isinstance(given, (list, tuple)) else [given], named["norm"] if after else None
    if "norm" in named:
        return [named["norm"].output], None
    # Heads that take the tokens of several blocks may leave the last normalisation out.
    last = [layer for layer in model.layers if isinstance(layer, EncoderBlock)][-1].output
    return [last[0] if isinstance(last, (list, tuple)) else last], None

"""Classification: pool the tokens, then one linear layer."""

from __future__ import annotations

import keras

from keras_vit.errors import InputError, suggest
from keras_vit.layers import AttentionPooling, TokenPooling
from keras_vit.layers.initializers import child_seed, kernel_initializer
from keras_vit.variants import Variant

POOLINGS = ("token", "avg", "map")
HEAD_LAYERS = ("pool", "pool_distilled", "head", "head_distilled")
"""Layers that a new task brings its own of. The last normalisation is not among them: weights have it."""


def classification_head(
    tokens,
    variant: Variant,
    *,
    num_classes: int,
    pooling: str,
    sizes=None,
    class_token: bool,
    registers: int = 0,
    norm: bool = False,
    zero_head: bool = False,
    init: str = "normal",
    seed: int | None = None,
    dtype=None,
):
    """Logits, or pooled features where there are no classes.

    Args:
        tokens: symbolic (B, N, D).
        variant: sizes and settings.
        num_classes: C; 0 leaves the linear layer out.
        pooling: `token` (class token), `avg` (mean of the patch tokens) or `map` (attention pooling).
        sizes: symbolic (B, N, 1), how many patches each token stands for; None where none were merged.
        class_token: whether the first token is one.
        registers: number of learned tokens after it.
        norm: normalise the pooled features, where the encoder left its tokens as they were.
        zero_head: start the linear layer at zero, so that the first predictions are uniform.
        init: how the pooling's kernels are drawn, a key of `INITS`. The linear layer is truncated normal 0.02 in any
            case: it stays as drawn where loaded weights know other classes.
        seed: of initial weights.
        dtype: Keras dtype policy of the pooling; logits are always float32.

    Returns:
        Symbolic (B, C), or (B, D) without classes. Layers are called `pool`, `norm` and `head`; a distilled family
        also has `pool_distilled` and `head_distilled`, and its outputs are the mean of both.

    Raises:
        InputError: unknown pooling, or `token` without a class token.
    """
    if pooling not in POOLINGS:
        raise InputError(f"There is no pooling {pooling!r}: {suggest(pooling, POOLINGS)}")
    if pooling == "token" and not class_token:
        raise InputError("pooling='token' needs the class token: leave class_token on, or pool with 'avg' or 'map'.")
    prefix = int(class_token) + registers
    if pooling == "map":
        pool = AttentionPooling(
            variant.size.num_heads,
            variant.size.mlp_dim,
            norm_epsilon=variant.family.norm_epsilon,
            activation=variant.family.activation,
            init=init,
            seed=child_seed(seed, 0),
            dtype=dtype,
            name="pool",
        )
    else:
        pool = TokenPooling(pooling, prefix, dtype=dtype, name="pool")
    features = pool(tokens) if sizes is None else pool(tokens, sizes)
    if norm:
        features = keras.layers.LayerNormalization(epsilon=variant.family.norm_epsilon, dtype=dtype, name="norm")(
            features
        )

    def classify(features, name: str, index: int):
        if not num_classes:
            return features
        initializer = kernel_initializer("zeros" if zero_head else "normal", child_seed(seed, index))
        return keras.layers.Dense(num_classes, kernel_initializer=initializer, dtype="float32", name=name)(features)

    outputs = classify(features, "head", 1)
    if variant.family.distilled and pooling == "token" and registers:
        distilled = TokenPooling("token", prefix, index=1, dtype=dtype, name="pool_distilled")(tokens)
        outputs = keras.layers.Average(name="mean_of_heads", dtype="float32" if num_classes else dtype)(
            [outputs, classify(distilled, "head_distilled", 2)]
        )
    return outputs

"""Classification: pool the tokens, then one linear layer."""

from __future__ import annotations

import keras

from keras_vit.errors import InputError, suggest
from keras_vit.heads.given import Given
from keras_vit.layers import AttentionPooling, TokenPooling
from keras_vit.layers.initializers import kernel_initializer

POOLINGS = ("token", "avg", "map")


def classification_head(given: Given):
    """Logits, or pooled features where there are no classes.

    Args:
        given: the linear layer is truncated normal 0.02 whatever `init` says: it stays as drawn where loaded weights
            know other classes.

    Returns:
        Symbolic (B, C), or (B, D) without classes. Layers are called `pool`, `norm` and `head`; a distilled family
        also has `pool_distilled` and `head_distilled`, and its outputs are the mean of both.

    Raises:
        InputError: unknown pooling, or `token` without a class token.
    """
    encoded, variant, pooling, dtype = given.encoded, given.variant, given.pooling, given.dtype
    if pooling not in POOLINGS:
        raise InputError(f"There is no pooling {pooling!r}: {suggest(pooling, POOLINGS)}")
    if pooling == "token" and not given.class_token:
        raise InputError("pooling='token' needs the class token: leave class_token on, or pool with 'avg' or 'map'.")
    if pooling == "map":
        pool = AttentionPooling(
            variant.size.num_heads,
            variant.size.mlp_dim,
            norm_epsilon=variant.family.norm_epsilon,
            activation=variant.family.activation,
            init=given.init,
            seed=given.child_seed(0),
            dtype=dtype,
            name="pool",
        )
    else:
        pool = TokenPooling(pooling, encoded.prefix, dtype=dtype, name="pool")
    features = pool(encoded.tokens) if encoded.sizes is None else pool(encoded.tokens, encoded.sizes)
    if given.norm_after_pooling:
        features = keras.layers.LayerNormalization(epsilon=variant.family.norm_epsilon, dtype=dtype, name="norm")(
            features
        )

    def classify(features, name: str, index: int):
        if not given.num_classes:
            return features
        initializer = kernel_initializer("zeros" if given.zero_head else "normal", given.child_seed(index))
        dense = keras.layers.Dense(given.num_classes, kernel_initializer=initializer, dtype="float32", name=name)
        return dense(features)

    outputs = classify(features, "head", 1)
    if variant.family.distilled and pooling == "token" and given.registers:
        distilled = TokenPooling("token", encoded.prefix, index=1, dtype=dtype, name="pool_distilled")(encoded.tokens)
        outputs = keras.layers.Average(name="mean_of_heads", dtype="float32" if given.num_classes else dtype)(
            [outputs, classify(distilled, "head_distilled", 2)]
        )
    return outputs

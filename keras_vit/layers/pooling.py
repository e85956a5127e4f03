"""From tokens to one vector an image."""

from __future__ import annotations

import keras
from keras import ops

from keras_vit.layers.attention import attend, log_sizes
from keras_vit.layers.base import ViTLayer
from keras_vit.layers.initializers import child_seed, dense, kernel_initializer
from keras_vit.layers.mlp import MLP


@keras.saving.register_keras_serializable(package="keras_vit")
class TokenPooling(ViTLayer):
    """Takes one of the first tokens, or the mean of the patch tokens.

    Args:
        mode: `"token"` or `"avg"`. The average leaves the prefix tokens out.
        prefix: number of tokens before the patches.
        index: which of the prefix tokens `token` takes.

    Shapes: (B, N, D) -> (B, D). Where tokens were merged, their sizes (B, N, 1) come second and weigh the mean.

    Raises:
        ValueError: another mode, or `token` where there is no prefix token.
    """

    def __init__(self, mode: str, prefix: int = 1, index: int = 0, **kwargs):
        super().__init__(**kwargs)
        if mode not in ("token", "avg") or (mode == "token" and not 0 <= index < prefix):
            raise ValueError(f"TokenPooling takes 'token' (with a class token) or 'avg', not {mode!r}.")
        self.mode = mode
        self.prefix = prefix
        self.index = index
        self.built = True

    def call(self, tokens, sizes=None):
        """(B, N, D) -> (B, D)."""
        if self.mode == "token":
            return tokens[:, self.index]
        patches = tokens[:, self.prefix :]
        if sizes is None:
            return ops.mean(patches, axis=1)
        counts = sizes[:, self.prefix :]
        return ops.sum(patches * (counts / ops.sum(counts, axis=1, keepdims=True)), axis=1)

    def compute_output_shape(self, input_shape):
        """(B, N, D) -> (B, D)."""
        return (input_shape[0], input_shape[2])


@keras.saving.register_keras_serializable(package="keras_vit")
class AttentionPooling(ViTLayer):
    """A learned query attends to all tokens, then a residual MLP (the MAP head of Zhai et al., 2022).

    Args:
        num_heads: attention heads; divides the width D.
        mlp_dim: hidden units of the MLP.
        norm_epsilon: of the layer normalisation before the MLP.
        activation: of the MLP, a key of `ACTIVATIONS`.
        init: how kernels are drawn, a key of `INITS`.
        seed: of the initial kernels.

    Shapes: (B, N, D) -> (B, D). Where tokens were merged, their sizes (B, N, 1) come second and each counts so many
    times.
    """

    def __init__(
        self,
        num_heads: int,
        mlp_dim: int,
        norm_epsilon: float = 1e-6,
        activation: str = "gelu",
        init: str = "normal",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.mlp_dim = mlp_dim
        self.norm_epsilon = norm_epsilon
        self.activation = activation
        self.init = init
        self.seed = seed

    def build(self, input_shape):
        """Creates the query, the projections and the MLP."""
        batch, _, width = input_shape
        self.probe = self.add_weight(
            shape=(1, 1, width),
            initializer=kernel_initializer(self.init, child_seed(self.seed, 0)),
            name="probe",
        )
        self.query = dense(self, "query", width, 1)
        self.key_value = dense(self, "key_value", 2 * width, 2)
        self.projection = dense(self, "projection", width, 3)
        for layer in (self.query, self.key_value, self.projection):
            layer.build(input_shape)
        self.norm = keras.layers.LayerNormalization(epsilon=self.norm_epsilon, dtype=self.dtype_policy, name="norm")
        self.norm.build((batch, 1, width))
        self.mlp = MLP(
            self.mlp_dim,
            activation=self.activation,
            init=self.init,
            seed=child_seed(self.seed, 4),
            dtype=self.dtype_policy,
            name="mlp",
        )
        self.mlp.build((batch, 1, width))

    def call(self, tokens, sizes=None, observe=None):
        """(B, N, D) -> (B, D). `observe` is shown the query's shares (B, heads, 1, N), see `observed_attention`."""
        probe = ops.cast(self.probe, tokens.dtype)
        probe = ops.broadcast_to(probe, (ops.shape(tokens)[0], 1, tokens.shape[-1]))
        key, value = ops.split(self.key_value(tokens), 2, axis=-1)
        bias = None if sizes is None else log_sizes(sizes)
        pooled = self.projection(attend(self.query(probe), key, value, self.num_heads, bias=bias, observe=observe))
        return (pooled + self.mlp(self.norm(pooled)))[:, 0]

    def compute_output_shape(self, input_shape):
        """(B, N, D) -> (B, D)."""
        return (input_shape[0], input_shape[2])

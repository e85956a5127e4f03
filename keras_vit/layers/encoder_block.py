"""The one transformer encoder block of the package (pre-norm, Dosovitskiy et al., 2021)."""

from __future__ import annotations

import keras
from keras import ops

from keras_vit.layers import fused
from keras_vit.layers.attention import SelfAttention
from keras_vit.layers.base import ViTLayer
from keras_vit.layers.dropout import Dropout
from keras_vit.layers.initializers import child_seed
from keras_vit.layers.layer_scale import LayerScale
from keras_vit.layers.mlp import MLP
from keras_vit.layers.normalization import LayerNorm
from keras_vit.layers.stochastic_depth import StochasticDepth
from keras_vit.layers.token_merging import mean_key, merge_tokens
from keras_vit.layers.traced_once import traced_once


@keras.saving.register_keras_serializable(package="keras_vit")
class EncoderBlock(ViTLayer):
    """`x + scale(attention(norm(x)))`, then `x + scale(mlp(norm(x)))`.

    The defaults are the plain ViT's; what families change is an argument (`keras_vit.variants.Family`).

    Args:
        num_heads: attention heads; divides the width D.
        mlp_dim: hidden units of the MLP.
        dropout: rate after the attention projection and after both MLP layers.
        drop_path: probability of leaving out each branch of an image while training.
        norm_epsilon: of every layer normalisation.
        activation: of the MLP, a key of `ACTIVATIONS`.
        gated: whether the MLP is a SwiGLU.
        mlp_norm: whether the MLP normalises its hidden units.
        layer_scale: the first value of a learned factor per channel after each branch; None for none.
        qkv_bias: which of query, key and value have a bias: `all`, `query_value` or `none`.
        rotary: rotary positions, a key of `ROTARY`, or None.
        relative_bias: whether attention has a learned bias per relative position.
        grid: (h, w) of the patches; needed for `rotary`, `relative_bias` and `window`.
        prefix: number of tokens before the patches.
        merged: number of patch tokens that are merged into others between the two branches (`merge_tokens`).
        init: how kernels are drawn, a key of `INITS`.
        seed: of initial kernels and masks.
        window: (rows, columns) of the windows that patches attend within (ViTDet); None for everywhere.
        remat: whether a training step keeps only the block's input and computes the rest again for the gradient
            (Chen et al., "Training deep nets with sublinear memory cost", 2016). Masks are those of the first time.

    Shapes: (B, N, D) in and out. A block that merges returns several tensors, and every later block takes them:
    tokens (B, N - merged, D); their sizes (B, N - merged, 1), in patches; and, where attention knows positions
    (`rotary`, `relative_bias`), their origins (B, N - merged, N0), the share that each of the first tokens has in them.
    """

    def __init__(
        self,
        num_heads: int,
        mlp_dim: int,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        norm_epsilon: float = 1e-6,
        activation: str = "gelu",
        gated: bool = False,
        mlp_norm: bool = False,
        layer_scale: float | None = None,
        qkv_bias: str = "all",
        rotary: str | None = None,
        relative_bias: bool = False,
        grid: tuple[int, int] | None = None,
        prefix: int = 1,
        init: str = "normal",
        seed: int | None = None,
        merged: int = 0,
        window: tuple[int, int] | None = None,
        remat: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if merged and window is not None:
            raise ValueError("A block that merges tokens has no windows: merged tokens have left their places.")
        self.num_heads = num_heads
        self.mlp_dim = mlp_dim
        self.dropout = dropout
        self.drop_path = drop_path
        self.norm_epsilon = norm_epsilon
        self.activation = activation
        self.gated = gated
        self.mlp_norm = mlp_norm
        self.layer_scale = layer_scale
        self.qkv_bias = qkv_bias
        self.rotary = rotary
        self.relative_bias = relative_bias
        self.grid = grid
        self.prefix = prefix
        self.init = init
        self.seed = seed
        self.merged = merged
        self.window = None if window is None else tuple(window)
        self.remat = remat

        policy, seeds = self.dtype_policy, [child_seed(seed, i) for i in range(5)]
        norm = {"epsilon": norm_epsilon, "dtype": policy}
        self.norm1 = LayerNorm(name="norm1", **norm)
        positions = (rotary, relative_bias, grid, prefix)
        self.attention = SelfAttention(
            num_heads, qkv_bias, *positions, init, seeds[0], window, dtype=policy, name="attention"
        )
        self.attention_dropout = Dropout(dropout, seed=seeds[1], dtype=policy, name="attention_dropout")
        self.drop_path1 = StochasticDepth(drop_path, seeds[2], dtype=policy, name="drop_path1")
        self.norm2 = LayerNorm(name="norm2", **norm)
        mlp_epsilon = norm_epsilon if mlp_norm else None
        self.mlp = MLP(mlp_dim, dropout, activation, gated, mlp_epsilon, init, seeds[3], dtype=policy, name="mlp")
        self.drop_path2 = StochasticDepth(drop_path, seeds[4], dtype=policy, name="drop_path2")
        self.scale1, self.scale2 = (
            LayerScale(layer_scale, dtype=policy, name=name) if layer_scale is not None else None
            for name in ("scale1", "scale2")
        )

    def build(self, input_shape):
        """Creates every sublayer's weights."""
        for layer in (self.norm1, self.attention, self.scale1, self.norm2, self.mlp, self.scale2):
            if layer is not None:
                layer.build(input_shape)

    def call(self, tokens, sizes=None, origins=None, training=None, observe=None):
        """(B, N, D) -> (B, N, D); a block that merges returns the sizes too, and the origins if they matter or are
        given. `observe` is shown the shares of attention (B, heads, N, N), see `observed_attention`."""
        masks = self._draw(ops.shape(tokens)[0]) if training else [None] * 5
        if observe is not None or not training:
            return self._transform((tokens, sizes, origins), masks, training, observe)
        # Drawn out here: a generator that moved on between the two passes would make the gradient wrong.
        given = [each for each in (tokens, sizes, origins) if each is not None]
        drawn = [mask for mask in masks if mask is not None]

        def transform(*tensors):
            carried, drawn_again = tensors[: len(given)], iter(tensors[len(given) :])
            carried = (*carried, *(None,) * (3 - len(given)))
            return self._transform(carried, [mask if mask is None else next(drawn_again) for mask in masks], training)

        def once(*tensors):
            if not fused.trains_on_tensorflow(training):
                return transform(*tensors)
            return traced_once(self, self._form(masks), transform, tensors)

        return (keras.remat(once) if self.remat else once)(*given, *drawn)

    def _draw(self, batch) -> list:
        """What all masks of one pass follow from: seeds, and factors of the branches."""
        paths = [path.draw(batch) for path in (self.drop_path1, self.drop_path2)]
        return [self.attention_dropout.draw(), paths[0], *self.mlp.draw(), paths[1]]

    def _form(self, masks) -> str:
        """What blocks have in common that compute the same in a training step, but for their weights and masks."""
        own = {key: value for key, value in self.get_config().items() if key not in ("name", "seed", "drop_path")}
        return repr((sorted(own.items(), key=repr), [mask is None for mask in masks]))

    def _transform(self, given, masks, training, observe=None):
        tokens, sizes, origins = given
        normalised = self.norm1(tokens, training=training)
        branch, keys = self.attention(normalised, sizes, origins, with_keys=True, training=training, observe=observe)
        branch = self.attention_dropout(branch, training=training, seed=masks[0])
        branch = self.scale1(branch) if self.scale1 else branch
        tokens = tokens + self.drop_path1(branch, training=training, factors=masks[1])
        if self.merged:
            tokens, *carried = self._merge(tokens, keys, sizes, origins)
        branch = self.mlp(self.norm2(tokens, training=training), training=training, seeds=masks[2:4])
        branch = self.scale2(branch) if self.scale2 else branch
        tokens = tokens + self.drop_path2(branch, training=training, factors=masks[4])
        return (tokens, *carried) if self.merged else tokens

    def _merge(self, tokens, keys, sizes, origins):
        """Tokens, sizes and, where positions matter or they are given, origins, which are merged as tokens are."""
        merge = {"metric": mean_key(keys, self.num_heads), "sizes": sizes, "count": self.merged, "prefix": self.prefix}
        if origins is None and not (self.rotary or self.relative_bias):
            return merge_tokens(tokens, **merge)
        width = tokens.shape[-1]
        if origins is None:
            count = tokens.shape[1]
            own = ops.expand_dims(ops.eye(count, dtype=tokens.dtype), 0)
            origins = ops.broadcast_to(own, (ops.shape(tokens)[0], count, count))
        both, sizes = merge_tokens(ops.concatenate([tokens, origins], axis=-1), **merge)
        return both[..., :width], sizes, both[..., width:]

    def compute_output_shape(self, tokens_shape, sizes_shape=None, origins_shape=None):
        """The same shape; of a block that merges, the shapes of all it returns."""
        if not self.merged:
            return tokens_shape
        batch, count, width = tokens_shape
        channels = [width, 1]
        if self.rotary or self.relative_bias:
            channels.append(origins_shape[-1] if origins_shape else count)
        return tuple((batch, count - self.merged, size) for size in channels)

"""Multi-head self-attention with one fused projection for queries, keys and values."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_vit.layers.base import ViTLayer
from keras_vit.layers.initializers import dense
from keras_vit.layers.relative_bias import RelativePositionBias
from keras_vit.layers.rotary import rotary_tables, rotate
from keras_vit.layers.scaled_attention import observed_attention, scaled_attention
from keras_vit.layers.windows import Windows

QKV_BIASES = ("all", "query_value", "none")


def attend(query, key, value, num_heads: int, *, rotary=None, bias=None, training=None, observe=None):
    """Scaled dot-product attention of several heads (Vaswani et al., 2017).

    The query is scaled before the product rather than the scores after it: in float16 large models overflow
    otherwise. The softmax runs in float32. Nothing has a rank above 4, so that edge delegates take the graph.

    Args:
        query: (B, M, D).
        key: (B, N, D).
        value: (B, N, D).
        num_heads: divides D.
        rotary: cosines and sines that turn queries and keys, as `rotary_tables` makes them.
        bias: added to the scores, broadcast to (B, num_heads, M, N).
        training: whether a gradient will be asked for.
        observe: is shown the shares of every head, see `observed_attention`.

    Returns:
        (B, M, D), the heads side by side.
    """

    def split(x):
        return ops.reshape(x, (-1, x.shape[1], num_heads, x.shape[2] // num_heads))

    scale = (query.shape[-1] // num_heads) ** -0.5
    queries, keys = split(query * scale), split(key)
    if rotary is not None:
        queries, keys = rotate(queries, *rotary), rotate(keys, *rotary)
    if observe is None:
        mixed = scaled_attention(queries, keys, split(value), bias=bias, training=training)
    else:
        mixed = observed_attention(queries, keys, split(value), observe, bias=bias)
    return ops.reshape(mixed, (-1, query.shape[1], value.shape[-1]))


def attend_in_windows(
    query, key, value, num_heads: int, windows: Windows, prefix: int, *, rotary=None, bias=None, training=None
):
    """As `attend`, but patches attend to the prefix tokens and to the patches of their window only.

    Prefix tokens (class token, registers) attend to everything.

    Args:
        query: (B, N, D), N = prefix + h * w.
        key: likewise.
        value: likewise.
        num_heads: divides D.
        windows: over the patch grid.
        prefix: number of tokens before the patches.
        rotary: as in `attend`, of all tokens.
        bias: (1, num_heads, N, N), the same for all pairs of patches that lie alike to each other.
        training: whether a gradient will be asked for.

    Returns:
        (B, N, D).
    """
    if rotary is not None:
        heads = (-1, query.shape[1], num_heads, query.shape[2] // num_heads)
        query, key = (
            ops.reshape(rotate(ops.reshape(each, heads), *rotary), (-1, *each.shape[1:])) for each in (query, key)
        )
    count = windows.counts[0] * windows.counts[1]
    inside = [windows.cut(each[:, prefix:]) for each in (query, key, value)]
    if prefix:
        # Every window sees the prefix tokens.
        for index, each in ((1, key), (2, value)):
            inside[index] = ops.concatenate([ops.repeat(each[:, :prefix], count, axis=0), inside[index]], axis=1)
    scores = None
    if bias is not None:
        patches = windows.first() + prefix
        seen = np.concatenate([np.arange(prefix), patches])
        scores = ops.take(ops.take(bias, patches, axis=2), seen, axis=3)
    mask = windows.mask(prefix)
    if mask is not None:
        shape = (ops.shape(query)[0], *mask.shape)
        filling = ops.reshape(ops.broadcast_to(ops.cast(mask, query.dtype), shape), (-1, 1, 1, mask.shape[1]))
        scores = filling if scores is None else scores + filling
    mixed = windows.join(attend(*inside, num_heads, bias=scores, training=training))
    if not prefix:
        return mixed
    own = None if bias is None else bias[:, :, :prefix]
    first = attend(query[:, :prefix], key, value, num_heads, bias=own, training=training)
    return ops.concatenate([first, mixed], axis=1)


def log_sizes(sizes):
    """What proportional attention adds to the scores: (B, N, 1) sizes -> (B, 1, 1, N)."""
    return ops.reshape(ops.log(sizes), (-1, 1, 1, sizes.shape[1]))


@keras.saving.register_keras_serializable(package="keras_vit")
class SelfAttention(ViTLayer):
    """Every token looks at every token.

    Args:
        num_heads: divides the width D.
        qkv_bias: `all`, `query_value` (BEiT, EVA-02, DINOv3: the key has none) or `none`.
        rotary: rotary positions, a key of `ROTARY`, or None.
        relative_bias: whether a learned bias per head and relative position is added to the scores.
        grid: (h, w) of the patches; needed for `rotary`, `relative_bias` and `window`.
        prefix: number of tokens before the patches.
        init: how kernels are drawn, a key of `INITS`.
        seed: of the initial kernels.
        window: (rows, columns) of the windows that patches attend within; None for everywhere.

    Where tokens were merged, those that stand for several patches count so many times (the proportional attention of
    Bolya et al., 2023), and their position is the mean of their patches' positions: of the rotations, and of the
    biases, which for one pair of merged tokens is the mean over all pairs of their patches.

    Shapes: (B, N, D) in and out. Weights: `qkv` (D, 3 D), queries, keys and values in this order; `projection` (D, D).
    """

    def __init__(
        self,
        num_heads: int,
        qkv_bias: str = "all",
        rotary: str | None = None,
        relative_bias: bool = False,
        grid: tuple[int, int] | None = None,
        prefix: int = 1,
        init: str = "normal",
        seed: int | None = None,
        window: tuple[int, int] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if qkv_bias not in QKV_BIASES:
            raise ValueError(f"qkv_bias is one of {', '.join(QKV_BIASES)}, not {qkv_bias!r}.")
        if window is not None and any(side > most for side, most in zip(window, grid or (0, 0), strict=True)):
            raise ValueError(f"A window of {window} patches needs a grid that is at least as large, not {grid}.")
        if relative_bias and prefix != 1:
            raise ValueError(f"A relative position bias goes with one class token, not with {prefix} prefix tokens.")
        self.num_heads = num_heads
        self.qkv_bias = qkv_bias
        self.rotary = rotary
        self.relative_bias = relative_bias
        self.grid = grid
        self.prefix = prefix
        self.init = init
        self.seed = seed
        self.window = None if window is None else tuple(window)
        self.bias = None

    def build(self, input_shape):
        """Creates the two projections, and the tables that positions need."""
        width = input_shape[-1]
        self.qkv = dense(self, "qkv", 3 * width, 0, use_bias=self.qkv_bias == "all")
        self.projection = dense(self, "projection", width, 1)
        self.qkv.build(input_shape)
        self.projection.build(input_shape)
        if self.qkv_bias == "query_value":
            self.query_bias, self.value_bias = (
                self.add_weight(shape=(width,), initializer="zeros", name=name) for name in ("query_bias", "value_bias")
            )
        if self.relative_bias:
            self.bias = RelativePositionBias(self.num_heads, self.grid, dtype=self.dtype_policy, name="relative_bias")
            self.bias.build(input_shape)
        head_dim = width // self.num_heads
        self.tables = rotary_tables(self.rotary, self.grid, self.prefix, head_dim) if self.rotary else None

    def call(self, tokens, sizes=None, origins=None, with_keys: bool = False, training=None, observe=None):
        """(B, N, D) -> (B, N, D), and the keys (B, N, D) before they are turned, if they are asked for.

        Args:
            tokens: (B, N, D).
            sizes: (B, N, 1), how many patches each token stands for; None for one each.
            origins: (B, N, N0), the share that each of the N0 first tokens has in a token; None for one's own.
            with_keys: whether the keys are returned too.
            training: whether a gradient will be asked for.
            observe: is shown the shares (B, heads, N, N), see `observed_attention`; beyond its window a patch has none.
        """
        query, key, value = ops.split(self.qkv(tokens), 3, axis=-1)
        if self.qkv_bias == "query_value":
            query = query + ops.cast(self.query_bias, query.dtype)
            value = value + ops.cast(self.value_bias, value.dtype)
        rotary, bias = self._positions(query, origins)
        if sizes is not None:
            bias = log_sizes(sizes) if bias is None else bias + log_sizes(sizes)
        how = {"rotary": rotary, "bias": bias, "training": training}
        if observe is not None:
            # One product over all pairs, in which those of different windows do not count, shows windows whole.
            apart = None if self.windows is None else self.windows.pairs(self.prefix)
            how["bias"] = apart if bias is None else bias if apart is None else ops.cast(bias, "float32") + apart
            mixed = attend(query, key, value, self.num_heads, **how, observe=observe)
        elif self.windows is None:
            mixed = attend(query, key, value, self.num_heads, **how)
        else:
            mixed = attend_in_windows(query, key, value, self.num_heads, self.windows, self.prefix, **how)
        mixed = self.projection(mixed)
        return (mixed, key) if with_keys else mixed

    @property
    def windows(self) -> Windows | None:
        """The windows over the patch grid; None where everything is attended to."""
        return Windows(tuple(self.grid), self.window) if self.window else None

    def _positions(self, query, origins):
        """The rotary tables and the bias, those of merged tokens where there are any."""
        bias = self.bias(query) if self.bias else None
        if origins is None:
            return self.tables, bias
        rotary = self.tables and [
            ops.expand_dims(ops.matmul(origins, ops.cast(table[0, :, 0], origins.dtype)), 2) for table in self.tables
        ]
        if bias is not None:
            shares = ops.expand_dims(origins, 1)
            bias = ops.matmul(ops.matmul(shares, bias), ops.transpose(shares, (0, 1, 3, 2)))
        return rotary, bias

    def compute_output_shape(self, input_shape):
        """The shape does not change."""
        return input_shape

"""What an export graph computes, as plain arrays: read off a Keras model, rewritten, and only then written as a graph.

Between the trained model and the files stands this description. A rewrite is a function from one description to an
equal one (`rewrites`), so that each is an algebraic identity that a test can check by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from keras_vit.layers.windows import Windows


@dataclass(frozen=True)
class Linear:
    """`x @ kernel + bias`.

    Attributes:
        kernel: (in, out), float32.
        bias: (out,), float32.
    """

    kernel: np.ndarray
    bias: np.ndarray

    def after_affine(self, scale: np.ndarray, shift: np.ndarray) -> Linear:
        """The map of `x` that equals this one of `scale * x + shift`."""
        kernel = self.kernel.astype("float64")
        bias = self.bias + shift.astype("float64") @ kernel
        return Linear((scale.astype("float64")[:, None] * kernel).astype("float32"), bias.astype("float32"))

    def before_scale(self, scale: np.ndarray | float) -> Linear:
        """The map whose outputs are `scale` times this one's, per channel."""
        return Linear((self.kernel * scale).astype("float32"), (self.bias * scale).astype("float32"))

    def of_stretched(self, stretch: np.ndarray) -> Linear:
        """The map of `x / stretch` that equals this one of `x`."""
        return self.after_affine(stretch, np.zeros_like(stretch))

    def centred(self) -> Linear:
        """The map whose outputs have this one's mean over the channels taken away."""
        return Linear(centred(self.kernel), centred(self.bias))


@dataclass(frozen=True)
class Norm:
    """Layer normalisation of the last axis.

    Attributes:
        epsilon: added to the variance.
        scale: (D,), or None for 1.
        shift: (D,), or None for 0.
        zero_mean: the inputs have no mean, so that it need not be subtracted.
        stretch: (D,), the inputs and outputs are the true ones divided by it; None for 1. Needs `zero_mean`.
    """

    epsilon: float
    scale: np.ndarray | None
    shift: np.ndarray | None
    zero_mean: bool = False
    stretch: np.ndarray | None = None


@dataclass(frozen=True)
class Attention:
    """Multi-head attention.

    Attributes:
        query: D -> D.
        key: D -> D.
        value: D -> D.
        projection: D -> D, of the heads side by side.
        num_heads: divides D.
        scale: of the scores.
        rotary: cosines and sines, each (1, N, 1, D / num_heads), or None.
        bias: (1, num_heads, N, N), added to the scores, or None.
        windows: that patches attend within, tokens before them to everything; None where all attend to all.
    """

    query: Linear
    key: Linear
    value: Linear
    projection: Linear
    num_heads: int
    scale: float
    rotary: tuple[np.ndarray, np.ndarray] | None = None
    bias: np.ndarray | None = None
    windows: Windows | None = None


@dataclass(frozen=True)
class Perceptron:
    """`contract(norm(activation(expand(x))))`, or with `silu(gate(x)) * expand(x)` in place of the activation.

    Attributes:
        expand: D -> hidden.
        contract: hidden -> D.
        activation: a key of `keras_vit.layers.mlp.ACTIVATIONS`.
        gate: D -> hidden, or None.
        norm: of the hidden units, or None.
    """

    expand: Linear
    contract: Linear
    activation: str
    gate: Linear | None = None
    norm: Norm | None = None


@dataclass(frozen=True)
class Block:
    """`x + attention(norm1(x))`, then `x + mlp(norm2(x))`.

    Attributes:
        keep: only this many of the first tokens are computed and passed on; None for all.
        merge: patch tokens that are merged into others after the attention.
        metric: D -> d, what of the first normalisation's outputs tells which are alike; None where none are merged.
    """

    norm1: Norm
    attention: Attention
    norm2: Norm
    mlp: Perceptron
    keep: int | None = None
    merge: int = 0
    metric: Linear | None = None


@dataclass(frozen=True)
class MapPooling:
    """A learned query that attends to all tokens, then a residual perceptron.

    Attributes:
        query: (1, D), the projected query: it is the same for every image.
        attention: its `query` is not used.
        norm: of the perceptron's inputs.
        mlp: the perceptron.
    """

    query: np.ndarray
    attention: Attention
    norm: Norm
    mlp: Perceptron


@dataclass(frozen=True)
class Classifier:
    """From tokens to logits.

    Attributes:
        pooling: `token`, `avg` or `map`.
        tokens: `token`: how many of the first tokens are taken, side by side.
        norm: the last normalisation, before the pooling, or after it where `norm_after`.
        norm_after: whether the pooled features are normalised instead of the tokens.
        linear: to C logits.
        map: `map`: the pooling.
    """

    pooling: str
    tokens: int
    norm: Norm
    norm_after: bool
    linear: Linear
    map: MapPooling | None = None


@dataclass(frozen=True, eq=False)
class Tail:
    """Any other head: layers that are written as they are, with the tokens of some blocks given to them.

    Attributes:
        layers: from the tokens (B, N, D) of one block, or a list of those of several, to the model's outputs; float32.
        reads: for each of its inputs the block that gives it, or `NORMALISED`.
        norm: the last normalisation; None where nothing reads it.
        inner: the normalisations inside the layers, which are written as all others are.
    """

    layers: keras.Model
    reads: tuple[int, ...]
    norm: Norm | None
    inner: tuple[tuple[keras.layers.LayerNormalization, Norm], ...] = ()

    @property
    def variables(self) -> list:
        """What the layers have learned, in the backend's own variables, without `inner`."""
        described = {id(variable) for layer, _ in self.inner for variable in layer.variables}
        return [variable.value for variable in self.layers.variables if id(variable) not in described]

    @property
    def reads_stream(self) -> bool:
        """Whether it reads what blocks leave in the residual stream, which then has to stay as it was trained."""
        return any(block != NORMALISED for block in self.reads)


NORMALISED = -1
"""In place of a block: the tokens of the last one, normalised."""


@dataclass(frozen=True)
class Network:
    """A Vision Transformer at one image size.

    Attributes:
        name: of the architecture.
        image_size: (H, W) in pixels.
        fill: pixels of value 0 that are added (at the bottom, at the right), so that patches cover the image.
        channels: of the images.
        patch: side of a patch in pixels.
        patches: patch * patch * channels -> D, of a patch's values in the order row, column, channel.
        start: (prefix + patches, D), added to the embedded patches behind `prefix` rows of zeros: class token,
            registers and positions, and what pixels of the mean colour instead of 0 would have added.
        prefix: tokens before the patches.
        patch_norm: of the embedded tokens, or None.
        centre: subtract each token's mean once, after `patch_norm`.
        shrink: (D,), then multiply by it, or None.
        blocks: in order.
        head: what follows the last block.
    """

    name: str
    image_size: tuple[int, int]
    fill: tuple[int, int]
    channels: int
    patch: int
    patches: Linear
    start: np.ndarray
    prefix: int
    patch_norm: Norm | None
    blocks: tuple[Block, ...]
    head: Classifier | Tail
    centre: bool = False
    shrink: np.ndarray | None = None

    @property
    def num_tokens(self) -> int:
        """N of the first block."""
        return len(self.start)


def centred(array: np.ndarray) -> np.ndarray:
    """The array without its mean over the last axis, float32; the mean is taken in float64."""
    return (array - array.mean(-1, dtype="float64", keepdims=True)).astype("float32")

"""What decoders are made of: convolution with layer normalisation, and the doubling of a map's sides."""

from __future__ import annotations

import keras
from keras import ops

from keras_vit.layers.base import ViTLayer
from keras_vit.layers.initializers import child_seed, dense, kernel_initializer


def convolution(
    owner: keras.layers.Layer, name: str, units: int, index: int, *, kernel: int = 3, use_bias: bool = False
) -> keras.layers.Conv2D:
    """A convolution that keeps a map's size, in its owner's precision, initialised by the owner's `init` and `seed`.

    Args:
        owner: a layer with the attributes `init` and `seed`.
        name: of the sublayer.
        units: channels of its output.
        index: different for every kernel of the owner.
        kernel: side of the kernel.
        use_bias: whether it has a bias, zero at first.
    """
    return keras.layers.Conv2D(
        units,
        kernel,
        padding="same",
        use_bias=use_bias,
        kernel_initializer=kernel_initializer(owner.init, child_seed(owner.seed, index)),
        data_format="channels_last",
        dtype=owner.dtype_policy,
        name=name,
    )


def resized(maps, size: tuple[int, int]):
    """(B, h, w, D) -> (B, *size, D), bilinear between the centres of the cells, in the maps' type."""
    if tuple(maps.shape[1:3]) == tuple(size):
        return maps
    larger = ops.image.resize(maps, tuple(size), interpolation="bilinear", data_format="channels_last")
    return ops.cast(larger, maps.dtype)


@keras.saving.register_keras_serializable(package="keras_vit")
class ConvNorm(ViTLayer):
    """Convolution without bias, layer normalisation over the channels, ReLU.

    Args:
        width: channels of the output.
        kernel: side of the kernel.
        activate: whether the ReLU is there.
        init: how kernels are drawn, a key of `INITS`.
        seed: of the initial kernel.

    Shapes: (B, h, w, D) -> (B, h, w, width).
    """

    def __init__(
        self,
        width: int,
        kernel: int = 3,
        activate: bool = True,
        init: str = "normal",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.width = width
        self.kernel = kernel
        self.activate = activate
        self.init = init
        self.seed = seed

    def build(self, input_shape):
        """Creates the kernel and the normalisation."""
        self.convolution = convolution(self, "convolution", self.width, 0, kernel=self.kernel)
        self.convolution.build(input_shape)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, dtype=self.dtype_policy, name="norm")
        self.norm.build(self.compute_output_shape(input_shape))

    def call(self, maps):
        """(B, h, w, D) -> (B, h, w, width)."""
        maps = self.norm(self.convolution(maps))
        return ops.relu(maps) if self.activate else maps

    def compute_output_shape(self, input_shape):
        """(B, h, w, D) -> (B, h, w, width)."""
        return (*input_shape[:-1], self.width)


@keras.saving.register_keras_serializable(package="keras_vit")
class Doubling(ViTLayer):
    """Every cell becomes 2 x 2 cells: a transposed convolution of side 2 and stride 2.

    Its kernels do not overlap, so it is a dense layer whose outputs are put in their places, by one transposition of
    rank 4.

    Args:
        width: channels of the output.
        init: how kernels are drawn, a key of `INITS`.
        seed: of the initial kernel.

    Shapes: (B, h, w, D) -> (B, 2 h, 2 w, width). Weights: `expand` (D, 2 * 2 * width), rows before columns.
    """

    def __init__(self, width: int, init: str = "normal", seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.init = init
        self.seed = seed

    def build(self, input_shape):
        """Creates the dense layer."""
        self.expand = dense(self, "expand", 4 * self.width, 0)
        self.expand.build(input_shape)

    def call(self, maps):
        """(B, h, w, D) -> (B, 2 h, 2 w, width)."""
        rows, columns = maps.shape[1:3]
        cells = ops.reshape(self.expand(maps), (-1, columns, 2, 2 * self.width))
        return ops.reshape(ops.transpose(cells, (0, 2, 1, 3)), (-1, 2 * rows, 2 * columns, self.width))

    def compute_output_shape(self, input_shape):
        """(B, h, w, D) -> (B, 2 h, 2 w, width)."""
        return (input_shape[0], 2 * input_shape[1], 2 * input_shape[2], self.width)

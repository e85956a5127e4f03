"""The simple feature pyramid: maps of several strides from the one map of a plain ViT (Li et al., 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_vit.layers.base import ViTLayer
from keras_vit.layers.convolution import ConvNorm, Doubling
from keras_vit.layers.initializers import child_seed


@keras.saving.register_keras_serializable(package="keras_vit")
class FeaturePyramid(ViTLayer):
    """Maps of the given strides, each made from the encoder's map by itself (ViTDet, Li et al., 2022, section 3).

    Finer maps come of doublings with GELU between them, coarser ones of max pooling; then a 1 x 1 and a 3 x 3
    convolution, each normalised. A patch side that is no power of two (14) counts as the nearest that is (16): the map
    is resampled to it first, so that cells of every level lie where their stride says.

    Args:
        patch_size: pixels between two cells of the given map.
        strides: pixels between two cells of each level, powers of two.
        width: channels of every level.
        image_size: (H, W) pixels that count: level i has ceil(H / stride) rows and ceil(W / stride) columns. None
            keeps all that the given map covers.
        init: how kernels are drawn, a key of `INITS`.
        seed: of the initial kernels.

    Shapes: (B, h, w, D), or a list of one such map for each level, -> list of (B, h_i, w_i, width).

    Raises:
        ValueError: a stride that is no power of two.
    """

    def __init__(
        self,
        patch_size: int,
        strides: Sequence[int] = (4, 8, 16, 32),
        width: int = 256,
        image_size: tuple[int, int] | None = None,
        init: str = "normal",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        for stride in strides:
            if stride < 1 or stride & (stride - 1):
                raise ValueError(f"The strides of a pyramid are powers of two, not {stride}.")
        self.patch_size = patch_size
        self.strides = tuple(strides)
        self.width = width
        self.image_size = None if image_size is None else tuple(image_size)
        self.init = init
        self.seed = seed
        self.levels = [
            PyramidLevel(
                round(math.log2(self.patch_size)) - round(math.log2(stride)),
                width,
                init,
                child_seed(seed, index),
                dtype=self.dtype_policy,
                name=f"stride_{stride}",
            )
            for index, stride in enumerate(self.strides)
        ]

    @property
    def map_stride(self) -> int:
        """The power of two that the patch side counts as."""
        return 2 ** round(math.log2(self.patch_size))

    def build(self, input_shape):
        """Creates every level's weights."""
        for level, shape in zip(self.levels, self._each(input_shape), strict=True):
            level.build((shape[0], *self._grid(shape[1:3]), shape[3]))

    def call(self, maps):
        """(B, h, w, D) -> list of (B, h_i, w_i, width), in the order of the strides."""
        given = isinstance(maps, (list, tuple))
        maps = [self._resampled(each) for each in (maps if given else [maps])]
        maps = maps if given else maps * len(self.levels)
        found = [level(each) for level, each in zip(self.levels, maps, strict=True)]
        if self.image_size is None:
            return found
        sides = [self._sides(stride) for stride in self.strides]
        return [each[:, :height, :width] for each, (height, width) in zip(found, sides, strict=True)]

    def compute_output_shape(self, input_shape):
        """(B, h, w, D) -> list of (B, h_i, w_i, width)."""
        shapes = []
        for level, stride, shape in zip(self.levels, self.strides, self._each(input_shape), strict=True):
            sides = level.compute_output_shape((shape[0], *self._grid(shape[1:3]), shape[3]))[1:3]
            shapes.append((shape[0], *(self._sides(stride) if self.image_size else sides), self.width))
        return shapes

    def _each(self, shapes):
        """One shape for each level."""
        return shapes if isinstance(shapes[0], (list, tuple)) else [shapes] * len(self.levels)

    def _sides(self, stride: int) -> tuple[int, int]:
        return tuple(math.ceil(side / stride) for side in self.image_size)

    def _grid(self, grid: tuple[int, int]) -> tuple[int, int]:
        """(h, w) of the given map once its stride is a power of two."""
        return tuple(math.ceil(side * self.patch_size / self.map_stride) for side in grid)

    def _resampled(self, maps):
        if self.map_stride == self.patch_size:
            return maps
        rows, columns = (
            ops.cast(_interpolation(old, new, self.map_stride / self.patch_size), maps.dtype)
            for old, new in zip(maps.shape[1:3], self._grid(maps.shape[1:3]), strict=True)
        )
        return ops.einsum("yh,xw,bhwd->byxd", rows, columns, maps)


def _interpolation(old: int, new: int, step: float) -> np.ndarray:
    """(new, old) weights of linear interpolation between cells, `step` old cells wide each new one."""
    centres = np.clip((np.arange(new) + 0.5) * step - 0.5, 0, old - 1)
    return np.stack([np.interp(centres, np.arange(old), row) for row in np.eye(old)], axis=1).astype("float32")


@keras.saving.register_keras_serializable(package="keras_vit")
class PyramidLevel(ViTLayer):
    """One level of a pyramid.

    Args:
        doublings: how often the map's sides are doubled; below zero, how often they are halved.
        width: channels of the output.
        init: how kernels are drawn, a key of `INITS`.
        seed: of the initial kernels.

    Shapes: (B, h, w, D) -> (B, h_i, w_i, width); halved odd sides are rounded up. Each doubling halves the channels.
    """

    def __init__(self, doublings: int, width: int, init: str = "normal", seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.doublings = doublings
        self.width = width
        self.init = init
        self.seed = seed

    def build(self, input_shape):
        """Creates the doublings and the two convolutions."""
        resizings, shape = [], input_shape
        for step in range(abs(self.doublings)):
            if self.doublings < 0:
                # Two by two: for a larger window, padding would also be put at the left and at the top.
                pool = {"padding": "same", "data_format": "channels_last", "dtype": self.dtype_policy}
                layers = [keras.layers.MaxPooling2D(**pool, name=f"halve_{step}")]
            else:
                seed = child_seed(self.seed, 2 + step)
                layers = [Doubling(shape[-1] // 2, self.init, seed, dtype=self.dtype_policy, name=f"double_{step}")]
            if step + 1 < self.doublings:
                norm = keras.layers.LayerNormalization(epsilon=1e-6, dtype=self.dtype_policy, name=f"norm_{step}")
                gelu = keras.layers.Activation("gelu", dtype=self.dtype_policy, name=f"gelu_{step}")
                layers += [norm, gelu]
            for layer in layers:
                layer.build(shape)
                shape = layer.compute_output_shape(shape)
            resizings += layers
        self.resizings = resizings
        more = {"activate": False, "init": self.init, "dtype": self.dtype_policy}
        self.lateral = ConvNorm(self.width, 1, seed=child_seed(self.seed, 0), name="lateral", **more)
        self.smooth = ConvNorm(self.width, 3, seed=child_seed(self.seed, 1), name="smooth", **more)
        self.lateral.build(shape)
        self.smooth.build(self.lateral.compute_output_shape(shape))

    def call(self, maps):
        """(B, h, w, D) -> (B, h_i, w_i, width)."""
        for layer in self.resizings:
            maps = layer(maps)
        return self.smooth(self.lateral(maps))

    def compute_output_shape(self, input_shape):
        """(B, h, w, D) -> (B, h_i, w_i, width)."""
        sides = input_shape[1:3]
        if self.doublings >= 0:
            sides = [side * 2**self.doublings for side in sides]
        else:
            sides = [-(-side // 2**-self.doublings) for side in sides]
        return (input_shape[0], *sides, self.width)

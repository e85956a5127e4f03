"""Detection: a box and class logits from every place of several feature maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
from keras import ops

from keras_vit.errors import InputError
from keras_vit.heads.dense import DenseHead, check_width, settings_of
from keras_vit.heads.given import Given
from keras_vit.layers import ConvNorm, FeaturePyramid
from keras_vit.layers.box_decoding import decode_boxes, place_centres
from keras_vit.layers.initializers import child_seed, kernel_initializer

STRIDES = (8, 16, 32)
"""Pixels between the places of each level."""
PRIOR = 0.01
"""Probability that every class starts with, so that the many empty places do not drown the first steps."""
REACH = 2.0
"""From a place to each side of its box at first, in strides."""


@keras.saving.register_keras_serializable(package="keras_vit")
class AnchorFreeHead(DenseHead):
    """A simple feature pyramid, and over it two short stacks of 3x3 convolutions, one for classes and one for boxes.

    As in FCOS (Tian et al., 2019), with layer instead of group normalisation: all levels share the stacks, but each
    has linear maps of its own after them, for a cell of 32 pixels is other things' neighbour than one of 8. The
    distances to a box's sides are softplus times the stride. Distances and logits are float32 whatever the policy.

    Args:
        strides: of the levels in pixels, powers of two, the finest first.
        width: channels of the pyramid and of the convolutions.
        depth: convolutions in each stack.

    Shapes: (B, prefix + h * w, D) -> (B, A, 4 + C) float32: boxes x0, y0, x1, y1 in pixels, then logits. Places go
    level by level, each row by row; a level has ceil(H / stride) rows.
    """

    def __init__(self, strides: Sequence[int] = STRIDES, width: int = 128, depth: int = 2, **kwargs):
        super().__init__(**kwargs)
        self.strides = tuple(strides)
        self.width = width
        self.depth = depth
        self.pyramid = FeaturePyramid(
            self.patch_size,
            self.strides,
            width,
            self.image_size,
            init=self.init,
            seed=child_seed(self.seed, 0),
            dtype=self.dtype_policy,
            name="pyramid",
        )
        self.class_stack = self._stack("class", 1)
        self.box_stack = self._stack("box", 2)
        self.class_maps = self._last("class", self.num_classes, math.log(PRIOR / (1 - PRIOR)), 3)
        self.box_maps = self._last("box", 4, math.log(math.expm1(REACH)), 4)

    def _stack(self, name: str, index: int) -> list[ConvNorm]:
        seed = child_seed(self.seed, index)
        fresh = {"init": self.init, "dtype": self.dtype_policy}
        return [
            ConvNorm(self.width, seed=child_seed(seed, step), name=f"{name}_{step}", **fresh)
            for step in range(self.depth)
        ]

    def _last(self, name: str, units: int, bias: float, index: int) -> list[keras.layers.Dense]:
        # Truncated normal 0.02 whatever `init` says: the start is what the biases say.
        init, seed = "zeros" if self.zero_head else "normal", child_seed(self.seed, index)
        return [
            keras.layers.Dense(
                units,
                kernel_initializer=kernel_initializer(init, child_seed(seed, level)),
                bias_initializer=keras.initializers.Constant(bias),
                dtype="float32",
                name=f"{name}_stride_{stride}",
            )
            for level, stride in enumerate(self.strides)
        ]

    def build(self, input_shape):
        """Creates the pyramid, the stacks and the linear maps."""
        shape = self.to_map.compute_output_shape(input_shape)
        self.pyramid.build(shape)
        shape = self.pyramid.compute_output_shape(shape)[0]
        for layer in (*self.class_stack, *self.box_stack, *self.class_maps, *self.box_maps):
            layer.build(shape)

    def call(self, tokens):
        """(B, N, D) -> (B, A, 4 + C)."""
        levels = self.pyramid(self.to_map(tokens))
        distances = self._answers(levels, self.box_stack, self.box_maps)
        logits = self._answers(levels, self.class_stack, self.class_maps)
        boxes = decode_boxes(ops.softplus(distances), place_centres(self.image_size, self.strides))
        return ops.concatenate([boxes, logits], axis=-1)

    def _answers(self, levels, stack, last):
        """(B, A, units) of all levels."""
        answers = []
        for features, classify in zip(levels, last, strict=True):
            for layer in stack:
                features = layer(features)
            answer = classify(ops.cast(features, "float32"))
            answers.append(ops.reshape(answer, (-1, answer.shape[1] * answer.shape[2], answer.shape[3])))
        return ops.concatenate(answers, axis=1)

    def compute_output_shape(self, input_shape):
        """(B, N, D) -> (B, A, 4 + C)."""
        return (input_shape[0], len(place_centres(self.image_size, self.strides)), 4 + self.num_classes)


def anchor_free_head(given: Given, *, width: int = 128, depth: int = 2, strides: Sequence[int] = STRIDES):
    """Boxes and class logits of every place, without anchors, see `AnchorFreeHead`.

    Args:
        given: what the encoder found.
        width: channels of the pyramid and of the convolutions.
        depth: convolutions in each of the two stacks.
        strides: of the levels in pixels, powers of two, the finest first.

    Returns:
        Symbolic (B, A, 4 + C) float32.

    Raises:
        InputError: no classes, merged tokens, or an option that makes no sense.
    """
    check_width("width", width)
    check_width("depth", depth)
    rising = all(isinstance(stride, int) and stride > 0 and not stride & (stride - 1) for stride in strides)
    if not strides or not rising or sorted(set(strides)) != list(strides):
        raise InputError(f"The head's strides are rising powers of two, such as {STRIDES}, not {strides!r}.")
    return AnchorFreeHead(strides, width, depth, **settings_of(given))(given.encoded.tokens)

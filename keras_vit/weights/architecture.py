"""What a built model is, read off its layers: what a dialect has to know to name its weights."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from keras_vit.errors import InputError
from keras_vit.layers import AttentionPooling, EncoderBlock, PatchEmbedding, PixelNormalization, TokenPooling
from keras_vit.preprocessing import Preprocessing
from keras_vit.variants import Variant, parse


@dataclass(frozen=True)
class Architecture:
    """A model of this package.

    Attributes:
        variant: what its name says.
        image_size: (H, W) in pixels.
        channels: of its images.
        depth: number of blocks.
        class_token: whether it has one.
        registers: number of learned tokens after it.
        grid: (h, w) of the patches; it covers the image, which dense models fill up to whole patches.
        pooling: `token`, `avg` or `map`; empty where the head needs none.
        norm_after_pooling: whether its last normalisation stands after the pooling.
        num_classes: 0 for features.
        preprocessing: its record; None where it was built without normalisation.
    """

    variant: Variant
    image_size: tuple[int, int]
    channels: int
    depth: int
    class_token: bool
    registers: int
    grid: tuple[int, int]
    pooling: str
    norm_after_pooling: bool
    num_classes: int
    preprocessing: Preprocessing | None

    @property
    def prefix(self) -> int:
        """Number of tokens before the patches."""
        return int(self.class_token) + self.registers


def describe(model: keras.Model) -> Architecture:
    """Reads the architecture off a model's name and layers.

    Args:
        model: made by `keras_vit.build`, or reloaded.

    Raises:
        InputError: it was not made by this package.
    """
    if not isinstance(model, keras.Model):
        raise InputError(f"Weights belong to a model made by keras_vit.build, not to a {type(model).__name__}.")
    layers = {layer.name: layer for layer in model.layers}
    if not isinstance(layers.get("patch_embedding"), PatchEmbedding):
        raise InputError(f"The model {model.name!r} was not made by keras_vit.build: its weights have no known names.")
    try:
        variant = parse(model.name)
    except InputError:
        raise InputError(
            f"The model {model.name!r} has lost the name of its architecture, which says what its weights are called: "
            "set model.name to it, for instance 'vit_b16'."
        ) from None
    names = [layer.name for layer in model.layers]
    pool, head = layers.get("pool"), layers.get("head")
    embedded = layers["patch_embedding"].input.shape
    return Architecture(
        variant=variant,
        image_size=tuple(model.input_shape[1:3]),
        channels=model.input_shape[3],
        depth=sum(isinstance(layer, EncoderBlock) for layer in model.layers),
        class_token="class_token" in layers,
        registers=layers["registers"].count if "registers" in layers else 0,
        grid=tuple(side // variant.patch for side in embedded[1:3]),
        pooling="map" if isinstance(pool, AttentionPooling) else pool.mode if isinstance(pool, TokenPooling) else "",
        norm_after_pooling="pool" in layers and names.index("norm") > names.index("pool"),
        num_classes=head.units if isinstance(head, keras.layers.Dense) else getattr(head, "num_classes", 0),
        preprocessing=next((x.preprocessing for x in model.layers if isinstance(x, PixelNormalization)), None),
    )


def variables_of(model: keras.Model) -> dict[str, keras.Variable]:
    """Path -> variable of a model of this package, in order, without the name scope that it was made in."""
    scope = model.get_layer("patch_embedding").path.removesuffix("patch_embedding")
    return {variable.path.removeprefix(scope): variable for variable in model.weights}

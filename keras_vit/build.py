"""`build`: an architecture name in, a plain functional Keras model out."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import keras

from keras_vit.encoder import encode, merging_schedule, window_schedule
from keras_vit.errors import InputError, suggest
from keras_vit.heads import HEADS, Given
from keras_vit.layers import PixelNormalization
from keras_vit.preprocessing import PRESETS, Preprocessing
from keras_vit.variants import Variant, parse

POSITION_INITS = ("normal", "sincos")
KERNEL_INITS = ("normal", "xavier")


def build(
    name: str,
    *,
    num_classes: int,
    image_size: int | tuple[int, int] | None = None,
    task: str = "classification",
    head: str | None = None,
    head_options: Mapping[str, object] | None = None,
    pooling: str | None = None,
    weights: str | Path | None = None,
    drop_path: float = 0.0,
    dropout: float = 0.0,
    dtype=None,
    in_channels: int = 3,
    class_token: bool | None = None,
    registers: int | None = None,
    depth: int | None = None,
    token_merging: int | Sequence[int] | Mapping[int, int] | None = None,
    window: int | tuple[int, int] | None = None,
    global_blocks: Sequence[int] | None = None,
    remat: str | None = None,
    init: str = "normal",
    position_init: str = "normal",
    zero_head: bool = False,
    normalize: bool = True,
    preprocessing: str | Preprocessing | None = None,
    seed: int | None = None,
) -> keras.Model:
    """Builds a Vision Transformer.

    The model takes **pixels 0..255**, (B, H, W, in_channels), uint8 or float: normalisation is its first layer.

    Args:
        name: architecture, for instance `"vit_b16"`: family, size, patch side in pixels. See `list_models`.
        num_classes: C. 0 gives pooled features (B, D) instead of logits, in classification; for maps see `features`.
        image_size: pixels, an int or (height, width), multiples of the patch size for classification; by default the
            size that the published weights are for, else the family's own. Other tasks take any size: the image is
            filled up to whole patches inside.
        task: what the outputs are, a key of `HEADS`.
        head: which of the task's heads; its first by default.
        head_options: the head's own settings, its keyword arguments.
        pooling: `token`, `avg` or `map`, for classification; the family's own by default.
        weights: a tag of the catalogue (`"augreg_in21k_ft_in1k"`, see `list_weights`), a Hugging Face repository
            (`"hf:owner/name"`, `"hf:owner/name@revision"`), a URL (`"https://..."`, with `#sha256=...` it is checked),
            or the path of a file or folder: timm, Hugging Face, Google or Meta's own names, or a `.keras` model made
            by this package. None draws random weights.
        drop_path: stochastic depth of the last block, growing linearly from 0 in the first.
        dropout: after the position embedding, the attention projection and both MLP layers.
        dtype: Keras dtype policy, for instance `"mixed_bfloat16"`; the global policy by default. Logits are float32.
        in_channels: 3 for RGB, 1 for grey.
        class_token: whether a learned token stands before the patches; the family's own by default.
        registers: number of learned tokens between the class token and the patches; the family's own by default.
        depth: number of blocks, to make a network shallower (or deeper) than its size says.
        token_merging: patch tokens that blocks merge into similar ones, so that later blocks are faster (ToMe, Bolya
            et al., 2023): a number for every block, a list with one for each, or `{block: number}`. Weights are the
            same with and without.
        window: patches of a block attend to those of their window only, and to the class token and registers, which
            attend to everything (ViTDet, Li et al., 2022): its side in patches, or (rows, columns). For large images.
            Weights are the same with and without.
        global_blocks: the blocks that attend everywhere all the same; by default four, evenly spread.
        remat: `"block"`: a training step keeps only each block's input and computes the rest again for the gradient
            (gradient checkpointing): the same gradients, masks of dropout and stochastic depth included, in less
            memory and more time. None keeps everything.
        init: of the kernels: `normal` (truncated normal 0.02, as in DeiT) or `xavier` (as in Google's ViT), which
            narrow networks learn faster from.
        position_init: `normal` (truncated normal 0.02) or `sincos`. The second learns far faster from few images: at
            0.02 positions drown in the patches, and a small network first has to learn where things are.
        zero_head: start the classifier at zero instead of truncated normal 0.02.
        normalize: False leaves the normalisation layer out; the caller then feeds normalised values.
        preprocessing: the record that the weights were trained with, or its name (`inception`, `imagenet`, `clip`);
            by default what the weights say, else the family's own.
        seed: of initial weights and masks; None takes Keras's global seed.

    Returns:
        An uncompiled functional model named after the architecture. It saves, reloads in safe mode and has named
        layers (`patch_embedding`, `block_3`, `head`, ...).

    Raises:
        InputError: unknown name, task, head, pooling or record; an image size that the patches do not divide; weights
            that are not there or do not fit.
        Failure: a download of weights broke off.
    """
    variant = parse(name)
    for label, given, known in (("init", init, KERNEL_INITS), ("position_init", position_init, POSITION_INITS)):
        if given not in known:
            raise InputError(f"There is no {label} {given!r}: {suggest(given, known)}")
    make_head, dense = find_head(task, head, head_options or {})
    if not isinstance(num_classes, int) or num_classes < 0:
        raise InputError(f"num_classes is a whole number, 0 for features, not {num_classes!r}.")
    for label, rate in (("drop_path", drop_path), ("dropout", dropout)):
        if not 0 <= rate < 1:
            raise InputError(f"{label} is at least 0 and below 1, not {rate}.")
    depth = variant.size.depth if depth is None else depth
    if depth < 1:
        raise InputError(f"depth is at least 1, not {depth}.")
    family = variant.family
    source = _locate(weights, variant)
    options = source.options if source else {}
    class_token = options.get("class_token", family.class_token) if class_token is None else class_token
    registers = options.get("registers", family.registers) if registers is None else registers
    if not isinstance(registers, int) or registers < 0:
        raise InputError(f"registers is a whole number, 0 for none, not {registers!r}.")
    if family.relative_bias and (not class_token or registers):
        raise InputError(f"{name} has one class token and no registers: its relative positions are made for that.")
    if pooling and dense:
        raise InputError(f"pooling is of classification, {task} answers for every place: leave it out.")
    pooling = pooling or family.pooling
    norm_after_pooling = family.norm_after_pooling and pooling == "avg" and not dense
    native_size = source.image_size if source and source.image_size else family.image_size
    height, width = check_image_size(image_size or native_size, variant, whole_patches=not dense)
    padded = tuple(-(-side // variant.patch) * variant.patch for side in (height, width))
    native_record = source.preprocessing if source and source.preprocessing else family.preprocessing
    record = _record(preprocessing, native_record, (height, width), in_channels)
    grid = tuple(side // variant.patch for side in padded)
    merging = merging_schedule(token_merging, depth, math.prod(grid))
    if remat not in (None, "block"):
        raise InputError(f'remat is "block" or None, not {remat!r}.')
    windows = window_schedule(window, global_blocks, depth, grid)
    if merging and windows:
        raise InputError("token_merging takes patches out of their places, which a window needs: take one of the two.")
    fresh = {"seed": seed, "dtype": dtype}

    image = keras.Input((height, width, in_channels), name="image")
    pixels = PixelNormalization(record, name="normalize")(image) if normalize else image
    if padded != (height, width):
        fill = ((0, padded[0] - height), (0, padded[1] - width))
        pixels = keras.layers.ZeroPadding2D(fill, data_format="channels_last", dtype="float32", name="fill")(pixels)
    encoded = encode(
        pixels,
        variant,
        class_token=class_token,
        registers=registers,
        depth=depth,
        merging=merging,
        windows=windows,
        remat=remat is not None,
        drop_path=drop_path,
        dropout=dropout,
        norm=not norm_after_pooling,
        sincos=position_init == "sincos",
        # What the file has is not drawn first. The head is: it may stay.
        init="zeros" if source else init,
        **fresh,
    )
    given = Given(
        encoded,
        variant,
        image_size=(height, width),
        num_classes=num_classes,
        pooling=pooling,
        class_token=class_token,
        registers=registers,
        norm_after_pooling=norm_after_pooling,
        zero_head=zero_head,
        init=init,
        **fresh,
    )
    outputs = make_head(given)
    model = keras.Model(image, outputs, name=name)
    if dtype is not None:
        # The layers have the policy already; `compile` asks the model itself whether to scale the loss for float16.
        model.dtype_policy = dtype
    if source:
        from keras_vit.weights.load import fill

        fill(model, source)
    return model


def find_head(task: str, head: str | None, options: Mapping[str, object]) -> tuple[Callable, bool]:
    """The head's function with its options set, and whether its task is dense.

    Raises:
        InputError: unknown task, head or option; says the nearest right one.
    """
    if task not in HEADS:
        raise InputError(f"There is no task {task!r}: {suggest(task, HEADS)}")
    heads = HEADS[task].by_name
    head = next(iter(heads)) if head is None else head
    if head not in heads:
        raise InputError(f"There is no {task} head {head!r}: {suggest(head, heads)}")
    known = [name for name, p in inspect.signature(heads[head]).parameters.items() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise InputError(f"The head {head!r} has no option {option!r}: {suggest(option, known or ['none'])}")
    return partial(heads[head], **options), HEADS[task].dense


def check_image_size(
    image_size: int | tuple[int, int], variant: Variant, *, whole_patches: bool = True
) -> tuple[int, int]:
    """Height and width in pixels.

    Args:
        image_size: a number of pixels or (height, width).
        variant: gives the patch size.
        whole_patches: whether the patches have to divide both.

    Raises:
        InputError: not one or two whole numbers, or not multiples of the patch size; says which sizes near are.
    """
    sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise InputError(f"image_size is a number of pixels or (height, width), not {image_size!r}.")
    patch = variant.patch
    wrong = [side for side in sides if whole_patches and side % patch]
    if wrong:
        below = wrong[0] // patch * patch
        near = f"{below} or {below + patch}" if below else f"{patch}"
        raise InputError(
            f"An image side of {wrong[0]} pixels cannot be cut into the {patch}-pixel patches of {variant.name}: "
            f"use {near}."
        )
    return sides


def preprocessing_of(model: keras.Model) -> Preprocessing:
    """The preprocessing record that a model carries in its first layer.

    Raises:
        InputError: the model was built with `normalize=False` or not by this package.
    """
    for layer in model.layers:
        if isinstance(layer, PixelNormalization):
            return layer.preprocessing
    raise InputError(f"The model {model.name!r} has no normalisation layer and so no preprocessing record.")


def _locate(weights, variant: Variant):
    if weights is None:
        return None
    from keras_vit.weights.source import Source, locate

    return weights if isinstance(weights, Source) else locate(weights, variant)


def _record(preprocessing, native: Preprocessing, image_size: tuple[int, int], in_channels: int) -> Preprocessing:
    if preprocessing is None:
        preprocessing = native
    elif isinstance(preprocessing, str):
        if preprocessing not in PRESETS:
            raise InputError(f"There is no preprocessing {preprocessing!r}: {suggest(preprocessing, PRESETS)}")
        preprocessing = PRESETS[preprocessing]
    return preprocessing.fitted(image_size, in_channels)

"""What `embed` and `probe` share: an encoder by the name of a run or a model, and the data that it is shown."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keras_vit.errors import InputError, suggest
from keras_vit.variants import list_models, parse

if TYPE_CHECKING:
    import keras

    from keras_vit.data import Data, LabelKind
    from keras_vit.training.run import Run

RANDOM = "random"
"""What --weights takes instead of a file: weights as they are drawn, to compare with."""


@dataclass(frozen=True)
class Encoder:
    """A model whose features are asked for.

    Attributes:
        model: of a run, or built without classes.
        weights: where its weights are from: the run folder, or the end of the name that was given.
        run: the run that it belongs to; None for a model that was named.
    """

    model: keras.Model
    weights: str
    run: Run | None


def add_encoder_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that say which features are taken, and how."""
    parser.add_argument("model", metavar="RUN_OR_MODEL", help="a run folder, or an architecture with --weights")
    parser.add_argument("--weights", help=f"of an architecture, as `train` takes them; {RANDOM} for none, to compare")
    parser.add_argument("--image-size", metavar="SIZE", help="of an architecture: 224, or HEIGHTxWIDTH")
    parser.add_argument("--data", help="labelled images in any form that `train` reads; a run's own by default")
    parser.add_argument("--pooling", metavar="HOW", help="token, avg or both; the model's own by default")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--skip-bad", action="store_true", help="leave unreadable images out instead of stopping")


def open_encoder(arguments: argparse.Namespace) -> Encoder:
    """The model of a run, or one built without classes and filled with weights.

    Raises:
        InputError: neither a run nor an architecture, an exported file, or weights that are missing or do not fit.
        Failure: a download of weights broke off.
    """
    from keras_vit.export.predictor import OPENERS, is_exported

    given = arguments.model
    if is_exported(given) or Path(given).suffix in OPENERS:
        raise InputError(
            f"{given} is an exported file, which gives answers and no features: give the run it came from."
        )
    if Path(given).exists():
        return _of_run(arguments)
    try:
        variant = parse(given)
    except InputError:
        raise InputError(f"There is no run folder and no model {given!r}: {suggest(given, list_models())}") from None
    if arguments.weights is None:
        raise InputError(
            f"{given} has no weights until it is given some: add --weights (`keras-vit models --weights {given}` lists "
            f"published ones, {RANDOM} takes none)."
        )
    from keras_vit.build import build
    from keras_vit.weights.source import locate

    source = None if arguments.weights == RANDOM else locate(arguments.weights, variant)
    size = _size(arguments.image_size)
    model = build(given, num_classes=0, image_size=size, weights=source, seed=arguments.seed)
    return Encoder(model, source.label if source else RANDOM, None)


def open_data(arguments: argparse.Namespace, encoder: Encoder, *, labels: LabelKind, carved: Collection[str]) -> Data:
    """The data that was named, or the run's own, split as it was in training.

    Args:
        arguments: of the command.
        encoder: whose run may have data.
        labels: the kind of the data's labels.
        carved: splits that other data is to be given where it has none of its own.

    Raises:
        InputError: no data at all, or data that cannot be used.
    """
    from keras_vit.data import load
    from keras_vit.training import Recipe

    own = arguments.data is None
    if own and encoder.run is None:
        raise InputError(f"{arguments.model} is an architecture and has no data of its own: add --data.")
    recipe = encoder.run.recipe if encoder.run else Recipe(seed=arguments.seed)
    settings = recipe.data
    return load(
        settings.spec if own else arguments.data,
        labels=labels,
        val_fraction=settings.val_fraction if own or "val" in carved else 0,
        test_fraction=settings.test_fraction if own or "test" in carved else 0,
        seed=recipe.seed,
        skip_bad=arguments.skip_bad or (own and settings.skip_bad),
    )


def _of_run(arguments: argparse.Namespace) -> Encoder:
    from keras_vit.training import load_run

    for flag in ("weights", "image_size"):
        if getattr(arguments, flag) is not None:
            raise InputError(f"{arguments.model} is a run, which has its own: leave --{flag.replace('_', '-')} out.")
    run = load_run(arguments.model)
    return Encoder(run.model, str(run.folder), run)


def _size(text: str | None) -> int | tuple[int, int] | None:
    if text is None:
        return None
    if not re.fullmatch(r"\d+(x\d+)?", text):
        raise InputError(f"--image-size is a number of pixels or HEIGHTxWIDTH, such as 224x320, not {text!r}.")
    sides = tuple(int(side) for side in text.split("x"))
    return sides if len(sides) == 2 else sides[0]

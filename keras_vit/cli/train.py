"""`keras-vit train`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from keras_vit.errors import InputError

NAME = "train"
HELP = "Train a model on images; writes a run folder."
EXAMPLES = """examples:
  keras-vit train --data digits --recipe recipes/digits.yaml
  keras-vit train --data photos/ --model vit_s16 --image-size 224 --epochs 30 --out saved_models/run1
  keras-vit train --data photos/ --model deit_ti16 --weights fb_in1k --set train.freeze=backbone
  keras-vit train --task segmentation --head fpn --data streets/ --model deit_ti16 --weights fb_in1k --image-size 384
  keras-vit train --task detection --data instances_train.json --model deit_ti16 --weights fb_in1k --image-size 480x640
  keras-vit train --out saved_models/run1 --resume
"""

SETTINGS = {
    "data": ("data.spec", "image folder, CSV, .npz, tfds:NAME[:config] or digits; masks or boxes for other tasks"),
    "task": ("task", "classification (default), segmentation or detection"),
    "model": ("model.name", "architecture; `keras-vit models` lists them"),
    "head": ("model.head", "which of the task's heads; its first by default"),
    "weights": ("model.weights", "what to start from: a tag, hf:owner/name, a URL, a file or folder"),
    "image_size": ("model.image_size", "pixels: 224, or HEIGHTxWIDTH such as 224x320"),
    "batch_size": ("train.batch_size", "images per update, over all devices"),
    "epochs": ("train.epochs", "passes over the training images"),
    "profile": ("log.profile", "take a profiler trace of steps, such as 10:20, for TensorBoard"),
    "seed": ("seed", "of everything random"),
    "out": ("out", "run folder; a new one under saved_models/ by default"),
}
"""Flag -> the setting of the recipe that it overrides."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    add_settings(parser)
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="continue the run in --out")
    existing.add_argument("--overwrite", action="store_true", help="replace the run in --out")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The flags that say what a recipe is."""
    parser.add_argument("--recipe", metavar="FILE", help="YAML file of settings; the flags below override it")
    for flag, (_, text) in SETTINGS.items():
        parser.add_argument(f"--{flag.replace('_', '-')}", dest=flag, metavar=flag.upper(), help=text)
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="any other setting, e.g. train.ema=0.99"
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave unreadable images out instead of stopping")


def run(arguments: argparse.Namespace) -> int:
    """Trains, and prints where the run is and what it reached."""
    settings = gather(arguments, resume=arguments.resume)
    from keras_vit.training import Recipe, train

    finished = train(Recipe.from_dict(settings), resume=arguments.resume, overwrite=arguments.overwrite)
    for split, figures in finished.metrics.items():
        shown = ", ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in figures.items())
        print(f"{split}: {shown}")
    print(f"report: {finished.folder / 'report.html'}")
    print(f"curves: keras-vit tensorboard {finished.folder}")
    print(f"next: keras-vit export {finished.folder}")
    return 0


def gather(arguments: argparse.Namespace, *, resume: bool = False) -> dict:
    """The recipe's settings: the file, then the flags, then `--set`. A resumed run starts from its own recipe.

    Raises:
        InputError: no such recipe, or a word that is not PATH=VALUE.
    """
    from keras_vit.training.recipe import read_settings, set_path

    settings = {}
    if arguments.recipe:
        settings = read_settings(arguments.recipe)
    elif resume:
        if not arguments.out:
            raise InputError("--resume needs the run folder: add --out.")
        settings = read_settings(Path(arguments.out) / "recipe.yaml")
    given = {path: getattr(arguments, flag) for flag, (path, _) in SETTINGS.items()}
    for path, text in given.items():
        if text is not None:
            set_path(settings, path, _value(text))
    change(settings, arguments.set)
    if arguments.skip_bad:
        set_path(settings, "data.skip_bad", True)
    return settings


def read_recipe(path: Path, words: Sequence[str]) -> dict:
    """The settings of a recipe's file, changed as `--set` says.

    Raises:
        InputError: no such recipe, or a word that is not PATH=VALUE.
    """
    from keras_vit.training.recipe import read_settings

    settings = read_settings(path)
    change(settings, words)
    return settings


def change(settings: dict, words: Sequence[str]) -> None:
    """Changes nested settings in place, as the words `path.to.setting=value` of `--set` say."""
    from keras_vit.training.recipe import set_path

    for path, text in map(_split, words):
        set_path(settings, path, _value(text))


def _split(word: str) -> tuple[str, str]:
    path, equals, value = word.partition("=")
    if not (path and equals):
        raise InputError(f"--set takes path.to.setting=value, not {word!r}.")
    return path, value


def _value(text: str):
    """YAML's reading of a word, and `224x320` or `10:20` as two numbers."""
    pair = re.fullmatch(r"(\d+)[x:](\d+)", text)
    if pair:
        return [int(number) for number in pair.groups()]
    return yaml.safe_load(text)

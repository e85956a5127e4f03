"""Writes the catalogue of published weights from timm's registry: for maintainers, after an upgrade of timm.

    python scripts/make_catalogue.py results-imagenet.csv

The argument is `results/results-imagenet.csv` of github.com/huggingface/pytorch-image-models, from where the published
top-1 is taken. Everything else comes from the installed timm: which weights there are, where they lie, how their images
are prepared, their licence as timm records it, and their number of parameters, counted on timm's own model.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
import importlib.util
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import track

from keras_vit.errors import InputError
from keras_vit.files import write_text

CATALOGUE = Path(__file__).resolve().parents[1] / "keras_vit" / "weights" / "catalogue"
TOP1_FROM = "huggingface/pytorch-image-models results/results-imagenet.csv: ImageNet-1k validation at {}x{}"
FITS = {"center": "crop", "squash": "squash"}
"""timm's crop_mode -> our `Preprocessing.fit`."""

SIZES = {
    "tiny": "ti",
    "small": "s",
    "small_plus": "splus",
    "medium": "m",
    "base": "b",
    "large": "l",
    "so400m": "so400m",
    "huge": "h",
    "huge_plus": "hplus",
    "giant": "g",
    "giantopt": "giantopt",
    "gigantic": "bigg",
    "7b": "7b",
}
"""timm's word for a size -> ours."""

SAME_WORD = {size: size for size in ("wee", "little", "medium", "mediumd", "betwixt")}


@dataclass(frozen=True)
class Rule:
    """Which of timm's names belong to a family of ours, and what they are called here.

    Attributes:
        family: ours; the architecture is `family_size+patch`.
        pattern: matched against the whole of timm's `architecture.tag`; its groups are `size`, `tag` and `patch`, which
            is 16 where the group is missing.
        sizes: timm's word for the size -> ours.
        options: settings of `keras_vit.build` that differ from the family's own.
        if_taken: added to a tag that an earlier rule has given to the same architecture.
        same_as: a family that may hold the very same weights (size, patch, tag and image size agree): they are then
            left out here.
    """

    family: str
    pattern: str
    sizes: Mapping[str, str] = field(default_factory=lambda: SIZES)
    options: Mapping[str, Any] = field(default_factory=dict)
    if_taken: str = ""
    same_as: str | None = None


RULES = (
    Rule(
        "vit",
        r"vit_(?P<size>tiny|small|medium|base|large|huge|giant)_patch(?P<patch>\d+)_\d+"
        r"\.(?P<tag>(orig|augreg2?|sam)_\w+)",
    ),
    Rule("mae", r"vit_(?P<size>base|large|huge)_patch(?P<patch>\d+)_\d+\.(?P<tag>mae)"),
    Rule("dino", r"vit_(?P<size>small|base)_patch(?P<patch>\d+)_\d+\.(?P<tag>dino)"),
    Rule("deit", r"deit_(?P<size>tiny|small|base)_patch(?P<patch>16)_\d+\.(?P<tag>\w+)"),
    Rule("deit_distilled", r"deit_(?P<size>tiny|small|base)_distilled_patch(?P<patch>16)_\d+\.(?P<tag>\w+)"),
    Rule("deit3", r"deit3_(?P<size>small|medium|base|large|huge)_patch(?P<patch>\d+)_\d+\.(?P<tag>\w+)"),
    Rule("dinov2", r"vit_(?P<size>small|base|large|giant)_patch(?P<patch>14)_dinov2\.(?P<tag>\w+)"),
    Rule("dinov2_reg", r"vit_(?P<size>small|base|large|giant)_patch(?P<patch>14)_reg4_dinov2\.(?P<tag>\w+)"),
    # The network with (zero) query and value biases is the complete one, so it comes first and keeps the plain tag.
    Rule(
        "dinov3",
        r"vit_(?P<size>tiny|small|small_plus|base|large|huge_plus|7b)_patch(?P<patch>16)_dinov3_qkvb\.(?P<tag>\w+)",
    ),
    Rule(
        "dinov3",
        r"vit_(?P<size>tiny|small|small_plus|base|large|huge_plus|7b)_patch(?P<patch>16)_dinov3\.(?P<tag>\w+)",
        if_taken="_nobias",
    ),
    Rule("clip", r"vit_(?P<size>base|large|huge|giant|gigantic)_patch(?P<patch>\d+)_clip_quickgelu_\d+\.(?P<tag>\w+)"),
    Rule(
        "openclip",
        r"vit_(?P<size>base|large|huge|giant|gigantic)_patch(?P<patch>\d+)_clip_\d+\.(?P<tag>\w+)",
        same_as="clip",
    ),
    # One is left out: 384 is no multiple of 14.
    Rule(
        "siglip",
        r"(?!vit_so400m_patch14_siglip_384\.)"
        r"vit_(?P<size>base|large|so400m|giantopt)_patch(?P<patch>\d+)_siglip_\d+\.(?P<tag>\w+)",
    ),
    Rule(
        "vit_reg",
        r"vit_(?P<size>wee|little|medium|mediumd|betwixt)_patch(?P<patch>16)_reg4_gap_\d+\.(?P<tag>\w+)",
        SAME_WORD,
    ),
    Rule(
        "vit_reg",
        r"vit_(?P<size>wee|little|medium|mediumd|betwixt)_patch(?P<patch>16)_reg1_gap_\d+\.(?P<tag>\w+)",
        SAME_WORD,
        options={"registers": 1},
        if_taken="_reg1",
    ),
    Rule("vit_gap", r"vit_(?P<size>medium)_patch(?P<patch>16)_gap_\d+\.(?P<tag>\w+)", SAME_WORD),
    Rule("ijepa", r"vit_(?P<size>huge|giant)_patch(?P<patch>\d+)_gap_\d+\.(?P<tag>\w+_ijepa)"),
    Rule("beit", r"beit_(?P<size>base|large)_patch(?P<patch>16)_\d+\.(?P<tag>\w+)"),
    Rule("beitv2", r"beitv2_(?P<size>base|large)_patch(?P<patch>16)_\d+\.(?P<tag>\w+)"),
    Rule("eva02", r"eva02_(?P<size>tiny|small|base|large)_patch(?P<patch>14)_\d+\.(?P<tag>\w+)"),
    Rule("flexivit", r"flexivit_(?P<size>small|base|large)\.(?P<tag>\w+)"),
)


@dataclass(frozen=True)
class Found:
    """One of timm's pretrained configurations under our name, before image sizes are told apart.

    Attributes:
        rule: that knows it.
        kind: our size and patch, like `b16`.
        tag: of the weights.
        timm: timm's name of the architecture.
        config: timm's `PretrainedCfg`.
    """

    rule: Rule
    kind: str
    tag: str
    timm: str
    config: Any

    @property
    def architecture(self) -> str:
        """Our name, like `vit_b16`."""
        return f"{self.rule.family}_{self.kind}"

    @property
    def image_size(self) -> list[int]:
        """Height and width."""
        return list(self.config.input_size[1:])


def find() -> list[Found]:
    """Every pretrained configuration of the installed timm that a rule knows, in the order of the rules."""
    import timm

    names = sorted(timm.list_pretrained())
    found: list[Found] = []
    for rule in RULES:
        taken = {(one.architecture, one.tag) for one in found}
        known = {(one.architecture, one.tag, one.image_size[0]) for one in found}
        for name in names:
            match = re.fullmatch(rule.pattern, name)
            if not match:
                continue
            groups = match.groupdict()
            kind = f"{rule.sizes[groups['size']]}{groups.get('patch', 16)}"
            one = Found(rule, kind, groups["tag"], name.split(".")[0], timm.get_pretrained_cfg(name))
            if (f"{rule.same_as}_{one.kind}", one.tag, one.image_size[0]) in known:
                continue
            found.append(_renamed(one) if (one.architecture, one.tag) in taken else one)
    return found


def _renamed(one: Found) -> Found:
    if not one.rule.if_taken:
        raise ValueError(f"Two rules give the tag {one.tag!r} to {one.architecture}: the later one needs `if_taken`.")
    return dataclasses.replace(one, tag=one.tag + one.rule.if_taken)


def tagged(found: Iterable[Found]) -> dict[tuple[str, str], Found]:
    """(architecture, tag) -> configuration: of a tag's image sizes the smallest keeps it, the others add theirs."""
    same = defaultdict(list)
    for one in found:
        same[one.architecture, one.tag].append(one)
    names = {}
    for (architecture, tag), group in same.items():
        smallest, *larger = sorted(group, key=lambda one: one.image_size)
        for name, one in [(tag, smallest), *((f"{tag}_{one.image_size[0]}", one) for one in larger)]:
            if (architecture, name) in names:
                raise ValueError(f"{architecture} has two weights of the name {name!r}.")
            names[architecture, name] = one
    return names


@functools.cache
def parameters(architecture: str, classes: int) -> int:
    """Number of parameters of timm's model, which is made without memory or numbers."""
    import timm
    import torch

    with torch.device("meta"):
        model = timm.create_model(architecture, pretrained=False, num_classes=classes)
    return sum(parameter.numel() for parameter in model.parameters())


def entry(one: Found, top1: Mapping[tuple[str, int], float]) -> dict:
    """What the catalogue says of one configuration.

    Args:
        one: the configuration.
        top1: (timm's `architecture.tag`, image size) -> fraction.
    """
    config, size = one.config, one.image_size
    measured = top1.get((f"{one.timm}.{config.tag}", size[0])) if config.num_classes == 1000 else None
    return {
        "source": f"hf:{config.hf_hub_id}" if config.hf_hub_id else config.url,
        "timm": one.timm,
        "image_size": size,
        "mean": list(config.mean),
        "std": list(config.std),
        "crop": config.crop_pct,
        "interpolation": config.interpolation,
        "fit": FITS[config.crop_mode],
        "classes": config.num_classes,
        "parameters": parameters(one.timm, config.num_classes),
        "licence": config.license or "unknown",
        "top1": measured,
        "top1_from": None if measured is None else TOP1_FROM.format(*size),
        "options": dict(one.rule.options),
    }


def read_top1(path: Path) -> dict[tuple[str, int], float]:
    """(timm's `architecture.tag`, image size) -> top-1 as a fraction, from timm's table in percent.

    Raises:
        InputError: there is no such file, or it is another table.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}: give results/results-imagenet.csv of pytorch-image-models.")
    with path.open(newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        if not {"model", "img_size", "top1"} <= set(table.fieldnames or ()):
            raise InputError(f"{path} has no columns model, img_size and top1: give timm's results-imagenet.csv.")
        return {(row["model"], int(row["img_size"])): round(float(row["top1"]) / 100, 5) for row in table}


def catalogue(top1: Mapping[tuple[str, int], float]) -> dict[str, str]:
    """File name -> text of each family's JSON: sorted, and one line an entry so that differences can be read."""
    families = defaultdict(lambda: defaultdict(dict))
    for (architecture, tag), one in track(sorted(tagged(find()).items(), key=lambda item: item[0]), "counting"):
        families[one.rule.family][architecture][tag] = json.dumps(entry(one, top1))
    return {f"{family}.json": _text(families[family]) for family in sorted(families)}


def _text(architectures: Mapping[str, Mapping[str, str]]) -> str:
    blocks = []
    for architecture, tags in architectures.items():
        lines = ",\n".join(f'    "{tag}": {line}' for tag, line in tags.items())
        blocks.append(f'  "{architecture}": {{\n{lines}\n  }}')
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def main() -> None:
    """Writes one file a family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="timm's results-imagenet.csv")
    results = parser.parse_args().results
    if importlib.util.find_spec("timm") is None:
        parser.error("timm is not installed: pip install timm")
    try:
        top1 = read_top1(results)
    except InputError as error:
        parser.error(str(error))
    for name, text in catalogue(top1).items():
        write_text(CATALOGUE / name, text)


if __name__ == "__main__":
    main()

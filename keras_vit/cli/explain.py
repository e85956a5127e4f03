"""`keras-vit explain`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_vit.cli.opened import load_data, open_run, split_of
from keras_vit.cli.pictures import picture_names, write_picture
from keras_vit.errors import InputError, suggest

if TYPE_CHECKING:
    import numpy as np

    from keras_vit.data import Examples
    from keras_vit.explain.sheet import Panel
    from keras_vit.tasks import Task
    from keras_vit.training.run import Run

NAME = "explain"
HELP = "Show what a run's model looked at in photos: maps over the photos, a contact sheet, a page."
EXAMPLES = """examples:
  keras-vit explain saved_models/run1 photos/ --out looks/
  keras-vit explain saved_models/run1 --split val --limit 24 --html       # the run's own images, with the truth
  keras-vit explain saved_models/run1 cat.jpg --method relevance,rollout,gradcam --target dog
  keras-vit explain saved_models/run1 cat.jpg --method attention --block 5 --head 2
  keras-vit explain saved_models/blood cell.jpg --target 1                # a detector's second surest box
"""
FOLDER, SHEET, PAGE = "explain", "sheet", "index.html"
USUAL = "relevance"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("model", metavar="RUN", help="a run folder")
    parser.add_argument("paths", nargs="*", metavar="PHOTO", help="images, folders (searched deeply) or patterns")
    parser.add_argument("--split", choices=("train", "val", "test"), help="images of the run's own data instead")
    parser.add_argument(
        "--method",
        action="append",
        metavar="NAME[,NAME...]",
        help=f"attention, rollout, relevance, gradcam, integrated, occlusion; several to compare (default: {USUAL})",
    )
    parser.add_argument(
        "--target", metavar="CLASS", help="class name or number, or a box's rank from 0; default: what is predicted"
    )
    parser.add_argument("--block", type=int, metavar="N", help="the block that `attention` shows (default: the last)")
    parser.add_argument("--head", type=int, metavar="N", help="the head that `attention` shows (default: their mean)")
    parser.add_argument(
        "--components", action="store_true", help="show main directions of the features as colours, too"
    )
    parser.add_argument("--out", metavar="FOLDER", help=f"where pictures go (default: RUN/{FOLDER})")
    parser.add_argument("--html", action="store_true", help=f"write {PAGE}, a page that holds all pictures, too")
    parser.add_argument("--limit", type=int, metavar="N", help="so many images at most, evenly chosen")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--skip-bad", action="store_true", help="leave unreadable images out instead of stopping")


def run(arguments: argparse.Namespace) -> int:
    """Explains, writes the pictures and says where they are."""
    from keras_vit.explain import replay_of
    from keras_vit.explain.explained import explain_examples
    from keras_vit.explain.page import card
    from keras_vit.explain.sheet import draw, panel, per_sheet
    from keras_vit.files import check_writable, write_bytes

    methods = _methods(arguments.method or [USUAL])
    if (arguments.block, arguments.head) != (None, None) and "attention" not in methods:
        raise InputError("--block and --head say what the method attention shows: add --method attention.")
    found = open_run(arguments.model, "attention that could be looked into")
    out = Path(arguments.out) if arguments.out else found.folder / FOLDER
    check_writable(out)
    examples, labelled = _examples(arguments, found)
    colours = _colours(found, examples, arguments.batch_size) if arguments.components else None
    names, seen, cards, waiting, written = picture_names(examples.names), [], [], [], []
    for one in explain_examples(
        found.model,
        found.task,
        examples,
        methods,
        wanted=arguments.target,
        labelled=labelled,
        block=arguments.block,
        head=arguments.head,
        batch_size=arguments.batch_size,
    ):
        own = None if colours is None else colours[one.index]
        drawn = draw(one, found.preprocessing, replay_of(found.model).patch_size, own)
        for heading, image in drawn.items():
            write_picture(image, out / heading / names[one.index])
        waiting.append(panel(one, _short(examples.names[one.index]), drawn))
        seen.append((one.index, one.colour))
        cards += [card(waiting[-1])] if arguments.html else []
        if len(waiting) == per_sheet(1 + len(drawn)):
            written.append(_write_sheet(waiting, out, len(written)))
            waiting = []
    if not seen:
        raise InputError(
            f"In none of the {len(examples)} images was there anything to explain: choose another --target."
        )
    written += [_write_sheet(waiting, out, len(written))] if waiting else []
    if arguments.html:
        write_bytes(out / PAGE, _page(found, arguments, seen, cards, 1 + len(drawn)))
        written.append(out / PAGE)
    left = len(examples) - len(seen)
    if left:
        print(f"{left} of {len(examples)} images had nothing to explain in them and were left out.")
    for path in [*(out / heading for heading in drawn), *written]:
        print(path)
    return 0


def _short(name: str) -> str:
    """A photo's name with its folder's, which may be its class: where all of it lies, a page need not tell."""
    return "/".join(Path(name).parts[-2:])


def _methods(given: Sequence[str]) -> list[str]:
    """The methods' names, each once."""
    from keras_vit.explain import METHODS

    names = list(dict.fromkeys(name.strip() for words in given for name in words.split(",")))
    for name in names:
        if name not in METHODS:
            raise InputError(f"There is no method {name!r}: {suggest(name, METHODS)}")
    return names


def _examples(arguments: argparse.Namespace, found: Run) -> tuple[Examples, bool]:
    """The images, and whether any label of theirs is known."""
    import numpy as np

    from keras_vit.data import find_images

    if bool(arguments.paths) == bool(arguments.split):
        raise InputError("Give either photos or --split with a split of the run's own data, such as --split val.")
    if arguments.limit is not None and arguments.limit < 1:
        raise InputError(f"--limit is how many images are explained, at least 1, not {arguments.limit}.")
    if arguments.split:
        data = load_data(found, found.task, skip_bad=arguments.skip_bad)
        examples, notes, labelled = split_of(data, arguments.split), data.notes, True
    else:
        examples, notes = find_images(arguments.paths, skip_bad=arguments.skip_bad)
        examples, labelled = _named_by_folder(examples, found.task)
    for note in notes:
        print(note)
    if arguments.limit and arguments.limit < len(examples):
        examples = examples.subset(np.linspace(0, len(examples) - 1, arguments.limit).round())
    return examples, labelled


def _named_by_folder(examples: Examples, task: Task) -> tuple[Examples, bool]:
    """Photos that lie in a folder called like a class are of this class; the class of others is -1."""
    from keras_vit.data import CLASSES

    if task.labels is not CLASSES:
        return examples, False
    numbers = {name: number for number, name in enumerate(task.class_names)}
    labels = [numbers.get(Path(file).absolute().parent.name, -1) for file in examples.paths]
    return dataclasses.replace(examples, labels=labels), max(labels) >= 0


def _colours(found: Run, examples: Examples, batch_size: int) -> np.ndarray:
    """The components of all images in one basis."""
    import numpy as np

    from keras_vit.data import image_dataset
    from keras_vit.explain.components import components
    from keras_vit.tasks.task import pixels

    batches = image_dataset(examples, found.preprocessing, batch_size=batch_size)
    return components(found.model, np.concatenate([pixels(batch) for batch in batches]))


def _write_sheet(panels: Sequence[Panel], out: Path, before: int) -> Path:
    from keras_vit.evaluation import save_png
    from keras_vit.explain.sheet import sheet

    path = out / (f"{SHEET}_{before + 1}.png" if before else f"{SHEET}.png")
    save_png(sheet(panels), path)
    return path


def _page(found: Run, arguments: argparse.Namespace, seen: Sequence, cards: Sequence[str], pictures: int) -> bytes:
    """The page's content."""
    from keras_vit.evaluation import RIGHT, WRONG
    from keras_vit.explain.page import page

    right, wrong = (sum(colour == tone for _, colour in seen) for tone in (RIGHT, WRONG))
    summary, notes = {"Model": found.recipe.model.name, "Photos": len(seen)}, []
    if right + wrong:
        summary["Right"] = f"{right} of {right + wrong}"
        notes.append("Words in blue: right; in orange: wrong.")
    if arguments.components:
        notes.append("In the components, patches of one colour are alike to the model.")
    summary["Explained"] = arguments.target or "the prediction"
    return page(f"What {found.folder.name} looked at", summary, cards, pictures, notes)

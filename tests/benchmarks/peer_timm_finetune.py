"""Fine-tunes a ViT on an image folder with timm and PyTorch, by a keras_vit recipe: the peer in a comparison.

Everything is timm's or PyTorch's own: model, transforms, AdamW, loss. The values come from the recipe's YAML file,
and a setting that this script has no counterpart for stops it, so that the two never differ unnoticed. Done as in
keras_vit: weight decay on matrices only, linear warm-up from 0 and cosine per step, gradients clipped by their global
norm, the last incomplete batch of an epoch left out, and the best epoch's validation accuracy reported.

    python peer_timm_finetune.py --recipe RUN/recipe.yaml --data PHOTOS --weights WEIGHTS.safetensors --seed 0

Needs torch, timm, PyYAML and Pillow; keras_vit is not imported. The recipe must be complete: the `recipe.yaml` of a
keras_vit run folder is. Progress goes to stderr; the last line of stdout is one JSON object: seed, top1 (best epoch),
last_top1, seconds (training and validation, without imports), train and val (numbers of images).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path

import timm
import torch
import yaml
from safetensors.torch import load_file
from timm.data import ImageDataset, create_transform, resolve_model_data_config
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

MODELS = {
    "deit_ti16": "deit_tiny_patch16_224",
    "deit_s16": "deit_small_patch16_224",
    "deit_b16": "deit_base_patch16_224",
    "vit_ti16": "vit_tiny_patch16_224",
    "vit_s16": "vit_small_patch16_224",
    "vit_b16": "vit_base_patch16_224",
}
"""keras_vit's names in timm's words. A deit_* is the same network as the vit_*, with ImageNet's mean and std."""

FIXED = {
    "model": {
        "image_size": 224,
        "pooling": None,
        "in_channels": 3,
        "class_token": True,
        "depth": None,
        "dropout": 0,
        "zero_head": False,
        "preprocessing": None,
    },
    "augment": {"rotate": 0, "shift": 0, "randaugment": 0, "erasing": 0, "mixup": 0, "cutmix": 0},
    "train": {"ema": 0, "accumulate": 1, "monitor": "val_top1", "patience": 0},
}
"""Settings without a counterpart here, and the only value that each may have."""


def read_recipe(path: Path) -> dict:
    """The recipe's groups of settings.

    Raises:
        SystemExit: a setting has a value that this script does not follow.
    """
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    for group, settings in FIXED.items():
        for name, only in settings.items():
            if recipe[group].get(name, only) != only:
                sys.exit(f"{path}: {group}.{name} must be {only!r} for the comparison, not {recipe[group][name]!r}.")
    if recipe["model"]["name"] not in MODELS:
        sys.exit(f"{path}: model.name must be one of {', '.join(MODELS)}, not {recipe['model']['name']!r}.")
    return recipe


def make_model(settings: dict, weights: Path, num_classes: int) -> torch.nn.Module:
    """timm's model with the weights of a safetensors file and a fresh head.

    Raises:
        SystemExit: the file lacks a tensor of the backbone or holds another one.
    """
    name = MODELS[settings["name"]]
    model = timm.create_model(name, num_classes=num_classes, drop_path_rate=settings["drop_path"])
    backbone = {key: value for key, value in load_file(weights).items() if not key.startswith("head.")}
    missing, unexpected = model.load_state_dict(backbone, strict=False)
    if set(missing) != {"head.weight", "head.bias"} or unexpected:
        sys.exit(f"{weights} does not fit {name}: missing {missing}, unexpected {unexpected}.")
    return model


def freeze(model: torch.nn.Module, what: str | int) -> None:
    """Leaves learning: everything (`none`), the head (`backbone`), or head, last norm and the last n blocks."""
    if what == "none":
        return
    learning = [model.head]
    if what != "backbone":
        learning += [model.norm, *model.blocks[len(model.blocks) - int(what) :]]
    model.requires_grad_(False)
    for module in learning:
        module.requires_grad_(True)


def make_loaders(root: Path, recipe: dict, model: torch.nn.Module, workers: int) -> tuple[DataLoader, DataLoader]:
    """Training and validation batches with timm's transforms."""
    config = resolve_model_data_config(model)
    shared = {key: config[key] for key in ("input_size", "interpolation", "mean", "std")}
    augment = recipe["augment"]
    view = create_transform(
        **shared,
        is_training=True,
        scale=tuple(augment["crop_scale"]),
        ratio=tuple(augment["crop_ratio"]),
        hflip=0.5 if augment["flip"] else 0.0,
        color_jitter=None,
    )
    centre = create_transform(**shared, crop_pct=recipe["model"].get("crop") or config["crop_pct"])
    train, val = ImageDataset(str(root / "train"), transform=view), ImageDataset(str(root / "val"), transform=centre)
    if train.reader.class_to_idx != val.reader.class_to_idx:
        sys.exit(f"{root}: train/ and val/ must have the same class folders.")
    loading = {"num_workers": workers, "persistent_workers": workers > 0}
    batch_size = min(recipe["train"]["batch_size"], len(train))
    return (
        DataLoader(train, batch_size, shuffle=True, drop_last=True, **loading),
        DataLoader(val, batch_size, **loading),
    )


def make_optimizer(
    model: torch.nn.Module, settings: dict, steps_per_epoch: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW that decays matrices only, and its schedule per step."""
    learning = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    matrices = [value for name, value in learning if name.endswith("weight") and value.ndim > 1]
    others = [value for name, value in learning if not (name.endswith("weight") and value.ndim > 1)]
    groups = [
        {"params": matrices, "weight_decay": settings["weight_decay"]},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings["learning_rate"])
    total = settings["epochs"] * steps_per_epoch
    warmup = min(round(settings["warmup_epochs"] * steps_per_epoch), total - 1)
    final = settings["final_learning_rate"]

    def rate(step: int) -> float:
        if step < warmup:
            return step / warmup
        done = (step - warmup) / (total - warmup)
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


def train_epoch(model, loader, optimizer, schedule, settings: dict) -> float:
    """One pass over the training images; returns the mean loss."""
    model.train()
    losses = []
    for images, labels in loader:
        loss = cross_entropy(model(images), labels, label_smoothing=settings["label_smoothing"])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if settings["clip_norm"]:
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings["clip_norm"])
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


@torch.inference_mode()
def accuracy(model: torch.nn.Module, loader: DataLoader) -> float:
    """Share of the images whose highest logit is the right one."""
    model.eval()
    right = sum((model(images).argmax(1) == labels).sum().item() for images, labels in loader)
    return right / len(loader.dataset)


def finetune(arguments: argparse.Namespace) -> dict:
    """The whole run; returns what is printed."""
    recipe = read_recipe(arguments.recipe)
    settings = recipe["train"]
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    start = time.perf_counter()
    num_classes = sum(folder.is_dir() for folder in (arguments.data / "train").iterdir())
    model = make_model(recipe["model"], arguments.weights, num_classes)
    freeze(model, settings["freeze"])
    train, val = make_loaders(arguments.data, recipe, model, arguments.workers)
    optimizer, schedule = make_optimizer(model, settings, len(train))
    history = []
    for epoch in range(1, settings["epochs"] + 1):
        loss = train_epoch(model, train, optimizer, schedule, settings)
        history.append(accuracy(model, val))
        passed = time.perf_counter() - start
        line = f"timm: epoch {epoch}/{settings['epochs']}  loss {loss:.3f}  val top-1 {history[-1]:.3f}  {passed:.0f} s"
        print(line, file=sys.stderr, flush=True)
    return {
        "seed": arguments.seed,
        "top1": max(history),
        "last_top1": history[-1],
        "seconds": time.perf_counter() - start,
        "train": len(train.dataset),
        "val": len(val.dataset),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, required=True, help="complete recipe of a keras_vit run, YAML")
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and val/ class folders")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors file with timm's names")
    parser.add_argument("--seed", type=int, default=0, help="of head, order, augmentation, masks (default 0)")
    parser.add_argument("--threads", type=int, default=2, help="PyTorch's threads (default 2)")
    parser.add_argument("--workers", type=int, default=1, help="processes that prepare images (default 1)")
    print(json.dumps(finetune(parser.parse_args())))


if __name__ == "__main__":
    main()

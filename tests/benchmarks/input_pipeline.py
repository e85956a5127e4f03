"""Images per second of training pipelines: random resized crop to 224, flip, RandAugment and MixUp.

Contenders: keras_vit's `train_dataset`; timm's loader and torchvision's v2 transforms in a DataLoader, two workers
each; keras-cv's layers in tf.data. Each round starts every contender in a fresh process, one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fresh_process import ContenderError, run_json, write_json

SIZE, CLASSES, WORKERS, BAR = 224, 10, 2, 1.3
WARM_UP = 6  # batches that are not counted: buffers fill and thread counts settle


def make_images(folder: Path, count: int = 500) -> None:
    """Photo-like JPEGs of 500 x 375, quality 90: smooth noise at several scales, grain, and shapes with edges."""
    import numpy as np
    from PIL import Image, ImageDraw

    rng = np.random.default_rng(0)
    for index in range(count):
        pixels = np.full((375, 500, 3), 125, np.float32)
        for side, strength in ((4, 90), (16, 40), (64, 20), (250, 10)):
            noise = rng.normal(0, 1, (side * 3 // 4, side, 3)).astype(np.float32)
            noise = 0.7 * noise.mean(-1, keepdims=True) + 0.5 * noise
            planes = [Image.fromarray(noise[..., c]).resize((500, 375), Image.BICUBIC) for c in range(3)]
            pixels += strength * np.stack(planes, -1)
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        draw = ImageDraw.Draw(image)
        for shape in range(8):
            x, y, width, height = rng.integers((0, 0, 10, 10), (450, 330, 120, 120)).tolist()
            colour = tuple(rng.integers(0, 256, 3).tolist())
            (draw.ellipse if shape % 2 else draw.rectangle)((x, y, x + width, y + height), fill=colour)
        path = folder / str(index % CLASSES) / f"{index}.jpg"
        path.parent.mkdir(exist_ok=True)
        image.save(path, quality=90)


def keras_vit_batches(folder: Path, batch: int) -> Iterator:
    """Ours."""
    from keras_vit.data import Augment, train_dataset
    from keras_vit.data.folder import read_folder
    from keras_vit.preprocessing import Preprocessing

    examples = read_folder(folder).splits["train"]
    augment = Augment(randaugment=2, magnitude=9, mixup=0.8)
    record = Preprocessing((SIZE, SIZE))
    dataset, _ = train_dataset(examples, record, augment, num_classes=CLASSES, batch_size=batch, seed=0)
    return iter(dataset)


def keras_cv_batches(folder: Path, batch: int) -> Iterator:
    """keras-cv's layers on whole batches; its crop samples without antialiasing."""
    import tensorflow as tf
    from keras_cv import layers

    paths = sorted(map(str, folder.glob("*/*.jpg")))
    labels = [int(Path(path).parent.name) for path in paths]
    crop = layers.RandomCropAndResize((SIZE, SIZE), (0.08, 1.0), (0.75, 1.3333))
    stages = [layers.RandomFlip("horizontal"), layers.RandAugment((0, 255), 2, 0.3), layers.MixUp(0.8)]

    def read(path, label):
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return {"images": crop(tf.cast(image, tf.float32)), "labels": tf.one_hot(label, CLASSES)}

    def augment(data):
        for stage in stages:
            data = stage(data)
        return data

    dataset = tf.data.Dataset.from_tensor_slices((paths, labels)).shuffle(len(paths), seed=0).repeat()
    dataset = dataset.map(read, tf.data.AUTOTUNE).batch(batch, drop_remainder=True)
    return iter(dataset.map(augment, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))


def timm_batches(folder: Path, batch: int) -> Iterator:
    """timm's own transforms, loader and Mixup."""
    from timm.data import Mixup, create_dataset, create_loader

    mix = Mixup(mixup_alpha=0.8, num_classes=CLASSES, label_smoothing=0.0)
    loader = create_loader(
        create_dataset("", root=str(folder)), (3, SIZE, SIZE), batch, is_training=True, use_prefetcher=False,
        scale=(0.08, 1.0), hflip=0.5, color_jitter=None, auto_augment="rand-m9-n2-mstd0.5", interpolation="bicubic",
        num_workers=WORKERS, persistent_workers=True,
    )  # fmt: skip
    while True:
        for images, labels in loader:
            yield mix(images, labels)


def torchvision_batches(folder: Path, batch: int) -> Iterator:
    """torchvision's v2 transforms and MixUp."""
    import torch
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    crop = v2.RandomResizedCrop(SIZE, interpolation=v2.InterpolationMode.BICUBIC, antialias=True)
    to_float = v2.ToDtype(torch.float32, scale=True)
    view = v2.Compose([crop, v2.RandomHorizontalFlip(), v2.RandAugment(2, 9), v2.ToImage(), to_float])
    mix = v2.MixUp(alpha=0.8, num_classes=CLASSES)
    loader = torch.utils.data.DataLoader(
        ImageFolder(folder, view), batch, shuffle=True, drop_last=True, num_workers=WORKERS, persistent_workers=True
    )
    while True:
        for images, labels in loader:
            yield mix(images, labels)


CONTENDERS = {
    "keras_vit": keras_vit_batches,
    "timm": timm_batches,
    "torchvision": torchvision_batches,
    "keras_cv": keras_cv_batches,
}
IN_PEER = ("timm", "torchvision")


def measure(name: str, folder: Path, batch: int, seconds: float) -> dict:
    """Images per second of one contender, in this process."""
    batches = CONTENDERS[name](folder, batch)
    for _ in range(WARM_UP):
        next(batches)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        next(batches)
        count += batch
    return {"images_per_s": count / (time.perf_counter() - started)}


def main() -> int:
    """Runs the rounds, or one contender."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", default=sys.executable, help="python of timm's and torchvision's environment")
    parser.add_argument("--images", type=Path, help="a folder of class folders 0 to 9; made where left out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of measuring, per contender and round")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--only", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        figures = measure(options.only, options.images, options.batch_size, options.seconds)
        print(json.dumps(figures), flush=True)
        # Loader workers and prefetching threads have nothing left to say.
        os._exit(0)
    with tempfile.TemporaryDirectory() as made:
        folder = options.images or Path(made)
        if not options.images:
            make_images(folder)
        rates = _rounds(options, folder)
    if "timm" not in rates or "keras_vit" not in rates:
        return 1
    ratios = {
        name: statistics.median(ours / theirs for ours, theirs in zip(rates["keras_vit"], rates[name], strict=True))
        for name in rates
    }
    print(f"{'':12} {'images/s':>9} {'slowest':>9} {'fastest':>9} {'ours / it':>10}")
    for name, found in rates.items():
        middle = statistics.median(found)
        print(f"{name:12} {middle:9.1f} {min(found):9.1f} {max(found):9.1f} {ratios[name]:10.2f}")
    if options.json:
        write_json(options.json, {"images_per_s": rates, "ratios": ratios})
    print(f"bar: at least {BAR} x timm: {'met' if ratios['timm'] >= BAR else 'MISSED'}")
    return 0 if ratios["timm"] >= BAR else 1


def _rounds(options: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """Images per second of each contender in each round; who fails is left out, in a sentence."""
    rates: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    shared = ["--images", str(folder), "--seconds", str(options.seconds), "--batch-size", str(options.batch_size)]
    for turn in range(options.rounds):
        for name in list(rates):
            python = options.peer_python if name in IN_PEER else sys.executable
            try:
                figures = run_json([python, __file__, "--only", name, *shared], {"CUDA_VISIBLE_DEVICES": ""})
            except ContenderError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
                del rates[name]
                continue
            rates[name].append(figures["images_per_s"])
        print(f"round {turn + 1} of {options.rounds}", file=sys.stderr)
    return rates


if __name__ == "__main__":
    sys.exit(main())

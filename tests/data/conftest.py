"""Small data sets made on the spot."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from box_files import HEIGHT, OBJECTS, SPLITS, WIDTH, coco, voc, write, yolo
from PIL import Image


@pytest.fixture
def make_images():
    """A function that writes `count` different pictures as `folder/0.jpg`, ... and returns their paths."""

    def make(folder: Path, count: int, *, extension: str = "jpg", size=(40, 30)) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        # The seed follows from the place, so that no two folders hold the same picture.
        rng = np.random.default_rng(list(str(folder).encode()))
        paths = []
        for i in range(count):
            picture = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8)).resize(size, Image.BICUBIC)
            paths.append(folder / f"{i}.{extension}")
            picture.save(paths[-1])
        return paths

    return make


@pytest.fixture
def class_folders(tmp_path, make_images) -> Path:
    """`photos/cat` and `photos/dog` with ten pictures each."""
    root = tmp_path / "photos"
    for name in ("cat", "dog"):
        make_images(root / name, 10)
    return root


@pytest.fixture
def split_folders(tmp_path, make_images) -> Path:
    """`photos/train|valid|test` with `cat` and `dog`, 6 / 2 / 3 pictures a class."""
    root = tmp_path / "photos"
    for split, count in {"train": 6, "valid": 2, "test": 3}.items():
        for name in ("cat", "dog"):
            make_images(root / split / name, count)
    return root


@pytest.fixture
def pictures(tmp_path, make_images) -> Path:
    make_images(tmp_path / "pictures", 5, size=(WIDTH, HEIGHT))
    return tmp_path / "pictures"


@pytest.fixture
def coco_file(tmp_path, pictures) -> Path:
    """`coco/all.json` beside `coco/images`."""
    shutil.copytree(pictures, tmp_path / "coco" / "images")
    write(tmp_path / "coco" / "all.json", coco())
    return tmp_path / "coco" / "all.json"


@pytest.fixture
def voc_folder(tmp_path, pictures) -> Path:
    shutil.copytree(pictures, tmp_path / "voc" / "JPEGImages")
    for i in range(5):
        write(tmp_path / "voc" / "Annotations" / f"{i}.xml", voc(i))
    for split, members in SPLITS.items():
        lines = "".join(f"{i}  1\n" for i in members)
        write(tmp_path / "voc" / "ImageSets" / "Main" / f"{split}.txt", lines)
    return tmp_path / "voc"


@pytest.fixture
def yolo_folder(tmp_path, pictures) -> Path:
    root = tmp_path / "yolo"
    for split, members in SPLITS.items():
        for i in members:
            (root / "images" / split).mkdir(parents=True, exist_ok=True)
            shutil.copy(pictures / f"{i}.jpg", root / "images" / split)
            if OBJECTS[i]:
                write(root / "labels" / split / f"{i}.txt", yolo(i))
    write(root / "data.yaml", "path: ../somewhere\ntrain: images/train\nnames: [cat, dog]\n")
    return root

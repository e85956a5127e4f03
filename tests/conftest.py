"""What every test may ask for: the real data and weights that CI has, and a small real run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest
from PIL import Image

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs {folder}, which is not part of the project")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets; the test is skipped where it is missing."""
    return _shared("data")


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """Folder of the real pretrained weights; the test is skipped where it is missing."""
    return _shared("weights")


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def randomize() -> Callable[..., None]:
    """Gives every weight, also tokens, tables, scales and biases that start constant, a value that matters."""

    def assign(model: keras.Model, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        for weight in model.weights:
            scales = weight.name == "gamma"
            values = rng.uniform(0.5, 1.5, weight.shape) if scales else weight + rng.normal(0, 0.2, weight.shape)
            weight.assign(values)

    return assign


@pytest.fixture(scope="session")
def blobs(tmp_path_factory) -> Path:
    """An npz of 16 x 16 RGB images in three classes that a small model learns in a few steps: which third is bright."""
    rng = np.random.default_rng(0)
    arrays = {"class_names": np.array(["left", "middle", "right"])}
    for split, n in (("train", 96), ("val", 30), ("test", 30)):
        labels = np.arange(n) % 3
        images = rng.integers(0, 100, (n, 16, 16, 3))
        for image, label in zip(images, labels, strict=True):
            image[:, 5 * label : 5 * label + 6] += 120
        arrays |= {f"x_{split}": images.astype("uint8"), f"y_{split}": labels}
    path = tmp_path_factory.mktemp("data") / "blobs.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="session")
def tiny(blobs) -> Callable[..., dict]:
    """Settings of a run on `blobs` that takes seconds; `tiny(out, **{"train.epochs": 3})` changes some."""

    from keras_vit.training.recipe import set_path

    def settings(out: Path, **changes) -> dict:
        recipe = {
            "data": {"spec": str(blobs)},
            "model": {"name": "vit_mu4", "image_size": 16, "init": "xavier", "crop": 1.0},
            "augment": {"crop_scale": [1.0, 1.0], "flip": False},
            "train": {"epochs": 2, "batch_size": 16, "learning_rate": 3e-3, "warmup_epochs": 1},
            # Of a run that takes seconds, looking into the model would take most of them.
            "log": {"looks": 0, "embedding": 0, "examples": 0},
            "out": str(out),
        }
        for path, value in changes.items():
            set_path(recipe, path, value)
        return recipe

    return settings


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """Images of 36 x 48 with a bright red, green or blue rectangle each, as a mask folder and with COCO boxes.

    Classes of pixels are background, red, green, blue; of boxes red, green, blue. Pixels at the lower edge are void.
    """
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("shapes")
    colours = ["red", "green", "blue"]
    (root / "classes.json").write_text(json.dumps({"classes": ["background", *colours, "void"], "ignore_index": 4}))
    for split, n in (("train", 32), ("val", 8), ("test", 8)):
        images, boxes = [], []
        for folder in ("images", "masks"):
            (root / split / folder).mkdir(parents=True)
        for index in range(n):
            pixels = rng.integers(0, 90, (36, 48, 3)).astype("uint8")
            mask = np.zeros((36, 48), "uint8")
            height, width = rng.integers(12, 24, 2).tolist()
            top, left = int(rng.integers(0, 36 - height)), int(rng.integers(0, 48 - width))
            pixels[top : top + height, left : left + width, index % 3] += 150
            mask[top : top + height, left : left + width] = 1 + index % 3
            mask[35] = 4
            Image.fromarray(pixels).save(root / split / "images" / f"{index}.png")
            Image.fromarray(mask).save(root / split / "masks" / f"{index}.png")
            images.append({"id": index, "file_name": f"{split}/images/{index}.png", "height": 36, "width": 48})
            box = {"bbox": [left, top, width, height], "area": width * height, "iscrowd": 0}
            boxes.append({"id": index + 1, "image_id": index, "category_id": 1 + index % 3, **box})
        categories = [{"id": number, "name": name} for number, name in enumerate(colours, start=1)]
        content = {"images": images, "annotations": boxes, "categories": categories}
        (root / f"instances_{split}.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="session")
def run(tiny, tmp_path_factory):
    """A finished run on `blobs`, with all that it can be asked to leave behind; do not change it."""
    # Here and not above: training needs TensorFlow, and the tests of layers and models run on other backends too.
    from keras_vit.training import Recipe, train

    changes = {"train.epochs": 6, "log": {"looks": 2, "embedding": 20, "examples": 4}}
    return train(Recipe.from_dict(tiny(tmp_path_factory.mktemp("runs") / "run", **changes)), progress=False)

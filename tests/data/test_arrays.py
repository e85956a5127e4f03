"""Arrays: npz in both namings, digits, and what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from keras_vit.data import Examples, load
from keras_vit.errors import InputError


def images(n, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def labels(n):
    return np.arange(n) % 2


def save(path, **arrays):
    np.savez(path / "data.npz", **arrays)
    return str(path / "data.npz")


def test_keras_names(tmp_path):
    spec = save(
        tmp_path,
        x_train=images(8, 6, 5, 3),
        y_train=labels(8),
        x_test=images(4, 6, 5, 3, seed=1),
        y_test=labels(4),
        class_names=np.array(["no", "yes"]),
    )
    data = load(spec, val_fraction=0.25)
    assert data.class_names == ["no", "yes"]
    assert {name: len(examples) for name, examples in data.splits.items()} == {"train": 6, "val": 2, "test": 4}
    assert data.test.names[3] == "index 3"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data.test.raw(0)))), images(4, 6, 5, 3, seed=1)[0])


def test_medmnist_names(tmp_path):
    parts = {"train": 8, "val": 2, "test": 4}
    arrays = {f"{name}_images": images(n, 5, 5, seed=n) for name, n in parts.items()}
    arrays |= {f"{name}_labels": labels(n)[:, None].astype(np.uint8) for name, n in parts.items()}
    data = load(save(tmp_path, **arrays))
    assert {name: len(examples) for name, examples in data.splits.items()} == parts
    assert data.class_names == ["0", "1"]
    assert data.notes == []


def test_whole_floats_become_bytes(tmp_path):
    data = load(save(tmp_path, x=images(20, 4, 4).astype(np.float32), y=labels(20)))
    assert data.train.images.dtype == np.uint8


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"a": np.zeros(3)}, "holds a, but no images"),
        ({"x_train": images(4, 5, 5)}, "has x_train but no y_train"),
        ({"x_train": images(4, 5), "y_train": labels(4)}, r"shape \(4, 5\)"),
        ({"x_train": images(4, 5, 5, 2), "y_train": labels(4)}, r"shape \(4, 5, 5, 2\)"),
        ({"x_train": images(4, 5, 5) / 255, "y_train": labels(4)}, "not whole numbers 0..255"),
        ({"x_train": images(4, 5, 5).astype(int) + 99, "y_train": labels(4)}, "not whole numbers 0..255"),
        ({"x_train": images(4, 5, 5), "y_train": labels(5)}, "4 images in x_train and 5 labels"),
        ({"x_train": images(4, 5, 5), "y_train": np.eye(4)}, r"y_train .* shape \(4, 4\)"),
        ({"x_train": images(4, 5, 5), "y_train": labels(4) - 1}, "outside 0..0|only one class"),
        ({"x_train": images(6, 5, 5), "y_train": labels(6) * 2}, "no image of 1 of the 3 classes"),
        ({"x_train": images(4, 5, 5), "y_train": labels(4) + 1, "class_names": np.array(["a", "b"])}, "outside 0..1"),
        ({"x_train": images(0, 5, 5), "y_train": labels(0), "class_names": np.array(["a", "b"])}, "no images"),
    ],
)
def test_wrong_arrays(tmp_path, arrays, sentence):
    with pytest.raises(InputError, match=sentence):
        load(save(tmp_path, **arrays))


def test_no_archive(tmp_path):
    (tmp_path / "data.npz").write_text("words")
    with pytest.raises(InputError, match=r"no readable \.npz"):
        load(str(tmp_path / "data.npz"))
    # One array under the name of an archive: NumPy opens it, and as something else.
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "data.npz")
    with pytest.raises(InputError, match=r"no readable \.npz"):
        load(str(tmp_path / "data.npz"))


def test_digits():
    data = load("digits")
    assert sum(len(examples) for examples in data.splits.values()) == 1797
    assert data.class_names == list("0123456789")
    assert data.train.images.shape[1:] == (8, 8)
    assert data.train.images.max() == 255
    assert min(data.counts["val"].values()) >= 25


def test_fashion_mnist(shared_data):
    data = load(str(shared_data / "fashion_mnist" / "fashion_mnist.npz"))
    assert {name: len(examples) for name, examples in data.splits.items()} == {
        "train": 20000,
        "val": 2000,
        "test": 5000,
    }
    assert data.class_names[9] == "Ankle boot"


def test_examples_take_one_store():
    with pytest.raises(InputError, match="exactly one"):
        Examples(labels=labels(2))
    with pytest.raises(InputError, match="1 images and 2 labels"):
        Examples(labels=labels(2), paths=["a"])


@pytest.mark.parametrize("spec", ["nowhere", "no/such.npz", "digit", "tfds"])
def test_unknown_spec(spec):
    with pytest.raises(InputError, match=r"There is no data at .* or digits"):
        load(spec)


def test_unknown_file(tmp_path):
    (tmp_path / "data.parquet").write_text("")
    with pytest.raises(InputError, match="no kind of data"):
        load(str(tmp_path / "data.parquet"))

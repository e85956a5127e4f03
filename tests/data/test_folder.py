"""Image folders: both layouts, what is ignored, and what is refused."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from keras_vit.data import load
from keras_vit.errors import InputError


def test_split_folders(split_folders):
    data = load(str(split_folders))
    assert data.class_names == ["cat", "dog"]
    assert data.counts == {
        "train": {"cat": 6, "dog": 6},
        "val": {"cat": 2, "dog": 2},
        "test": {"cat": 3, "dog": 3},
    }
    assert data.notes == []
    assert data.train.names[0].endswith("train/cat/0.jpg")
    assert data.train.raw(0) == (split_folders / "train/cat/0.jpg").read_bytes()


def test_class_folders_are_split_by_class_and_seed(class_folders):
    data = load(str(class_folders), val_fraction=0.2, test_fraction=0.1)
    assert data.counts == {
        "train": {"cat": 7, "dog": 7},
        "val": {"cat": 2, "dog": 2},
        "test": {"cat": 1, "dog": 1},
    }
    assert "seed 0" in data.notes[0]
    names = [name for examples in data.splits.values() for name in examples.names]
    assert len(set(names)) == 20
    again = load(str(class_folders), val_fraction=0.2, test_fraction=0.1)
    assert again.val.names == data.val.names
    assert again.fingerprint == data.fingerprint
    other = load(str(class_folders), val_fraction=0.2, test_fraction=0.1, seed=1)
    assert other.val.names != data.val.names
    assert other.fingerprint != data.fingerprint


def test_fingerprint_does_not_depend_on_the_place(split_folders):
    before = load(str(split_folders)).fingerprint
    moved = split_folders.rename(split_folders.parent / "elsewhere")
    assert load(str(moved)).fingerprint == before
    shutil.copy(moved / "test/cat/0.jpg", moved / "test/cat/9.jpg")
    assert load(str(moved)).fingerprint != before


def test_missing_val_is_carved_and_missing_test_is_none(split_folders):
    shutil.rmtree(split_folders / "valid")
    data = load(str(split_folders), val_fraction=0.34)
    assert {name: len(examples) for name, examples in data.splits.items()} == {"train": 8, "val": 4, "test": 6}
    (split_folders / "test").rename(split_folders / "validation")
    data = load(str(split_folders))
    assert data.test is None
    assert len(data.train) == 12


def test_no_fractions_keep_everything_in_train(class_folders):
    data = load(str(class_folders), val_fraction=0, test_fraction=0)
    assert (len(data.train), data.val, data.test) == (20, None, None)


def test_extensions_and_ignored_files(tmp_path, make_images):
    for extension in ("jpg", "JPEG", "png", "webp", "BMP", "gif"):
        make_images(tmp_path / "a", 2, extension=extension)
    make_images(tmp_path / "b" / "deeper", 4)
    make_images(tmp_path / "b" / ".thumbnails", 2)
    make_images(tmp_path / ".cache", 2)
    (tmp_path / "a" / "Thumbs.db").write_bytes(b"junk")
    (tmp_path / "a" / ".hidden.jpg").write_bytes(b"junk")
    (tmp_path / "README.txt").write_text("words")
    data = load(str(tmp_path), val_fraction=0, test_fraction=0)
    assert data.counts == {"train": {"a": 12, "b": 4}}


def test_unlabelled_test_folder_is_left_out(split_folders, make_images):
    shutil.rmtree(split_folders / "test")
    make_images(split_folders / "test", 3)
    data = load(str(split_folders))
    assert data.test is None
    assert "no test labels" in data.notes[0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda root: shutil.rmtree(root / "train"), "test, valid, but no train folder"),
        (lambda root: (root / "valid").rename(root / "valid_"), None),
        (lambda root: shutil.copytree(root / "valid", root / "val"), "both the val split"),
        (lambda root: shutil.rmtree(root / "valid" / "dog"), "no folder for the class 'dog'"),
        (lambda root: (root / "valid" / "dog").rename(root / "valid" / "dogs"), "did you mean 'dog'"),
        (lambda root: (root / "train" / "bird").mkdir(), "no folder for the class 'bird'|bird has no images"),
        (lambda root: shutil.rmtree(root / "train" / "dog"), "dog is a class that train does not have"),
    ],
)
def test_wrong_split_folders(split_folders, change, sentence):
    change(split_folders)
    if sentence is None:
        assert load(str(split_folders)).val is not None  # a folder of another name is no split, so val is carved
        return
    with pytest.raises(InputError, match=sentence):
        load(str(split_folders))


def test_wrong_class_folders(tmp_path, make_images):
    with pytest.raises(InputError, match="no class folders: put"):
        load(str(tmp_path))
    make_images(tmp_path, 2)
    with pytest.raises(InputError, match="no class folders: give each class a folder"):
        load(str(tmp_path))
    make_images(tmp_path / "cat", 5)
    with pytest.raises(InputError, match=r"only one class \(cat\)"):
        load(str(tmp_path))
    make_images(tmp_path / "dog", 2)
    with pytest.raises(InputError, match=r"'dog' has 2 image\(s\), too few for 3 splits"):
        load(str(tmp_path))
    (tmp_path / "bird").mkdir()
    with pytest.raises(InputError, match=r"class folder .*bird has no images"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    "fractions", [{"val_fraction": -0.1}, {"test_fraction": 1.0}, {"val_fraction": 0.5, "test_fraction": 0.5}]
)
def test_wrong_fractions(class_folders, fractions):
    with pytest.raises(InputError, match="fraction"):
        load(str(class_folders), **fractions)


def test_photos(shared_data):
    data = load(str(shared_data / "hymenoptera"))
    assert data.class_names == ["ants", "bees"]
    assert [np.bincount(e.labels).tolist() for e in data.splits.values()] == [[123, 121], [70, 83]]

"""CSV data: columns, where files are found, labels, and what is refused."""

from __future__ import annotations

import zipfile

import pytest

from keras_vit.data import load
from keras_vit.errors import InputError


@pytest.fixture
def table(tmp_path, make_images):
    """A function that writes a CSV beside eight pictures `pictures/0.jpg`, ... and returns its path."""
    make_images(tmp_path / "pictures", 8)

    def write(lines: list[str], name="labels.csv"):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


def rows(labels, split=None):
    tail = "" if split is None else f",{split}"
    return [f"pictures/{i}.jpg,{label}{tail}" for i, label in enumerate(labels)]


def test_names_as_labels(table):
    data = load(str(table(["file,label", *rows(["dog", "cat"] * 4)])), val_fraction=0.25, test_fraction=0)
    assert data.class_names == ["cat", "dog"]
    assert data.counts == {"train": {"cat": 3, "dog": 3}, "val": {"cat": 1, "dog": 1}}


def test_numbers_names_and_splits(tmp_path, table):
    splits = ["train", "train", "valid", "valid", "train", "train", "test", "test"]
    lines = [f"pictures/{i}.jpg,{i % 2},{'ab'[i % 2]},{split}" for i, split in enumerate(splits)]
    table(["file,label,class_name,split", *lines], name="anything.csv")
    data = load(str(tmp_path))
    assert data.class_names == ["a", "b"]
    assert {name: len(examples) for name, examples in data.splits.items()} == {"train": 4, "val": 2, "test": 2}


def test_unlabelled_test_rows_are_left_out(table):
    lines = ["file,label,split", *rows([0, 1, 0, 1], "train"), "pictures/4.jpg,,test", "pictures/5.jpg,,test"]
    data = load(str(table(lines)), val_fraction=0, test_fraction=0)
    assert len(data.train) == 4
    assert data.test is None
    assert "2 test row(s)" in data.notes[0]


def test_files_in_a_zip(tmp_path, table, make_images):
    path = table(["file,label", *[f"{i}.jpg,{i % 2}" for i in range(8)]])
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for picture in (tmp_path / "pictures").iterdir():
            archive.write(picture, picture.name)
    data = load(str(path), val_fraction=0, test_fraction=0)
    assert data.train.raw(3) == (tmp_path / "pictures" / "3.jpg").read_bytes()
    assert data.train.names[3].endswith("archive.zip/3.jpg")


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["picture,label", "a.jpg,1"], "needs the columns file and label"),
        (["file,label"], "has no rows"),
        (
            ["file,label", *rows([0, 1, 0]), "gone.jpg,1", "away.jpg,0"],
            "2 file.s. that are not there, the first is gone",
        ),
        (["file,label", *rows([0, -1])], "label -1 for pictures/1.jpg"),
        (["file,label", *rows([0, 2, 0, 2])], "no row with label 1"),
        (["file,label", *rows([0, 0, 0])], "only one class"),
        (["file,label", *rows([0, "", 1])], "no label for 1 row.s., the first is pictures/1.jpg"),
        (["file,label,split", *rows([0, 1], "trian")], "did you mean 'train'"),
        (["file,label,split", *rows([0, 1], "test")], "no train split"),
        (["file,label,split", *rows([0, 1], "train"), "pictures/4.jpg,0,val"], "val split has no image of 1 of the 2"),
        (["file,label,class_name", "pictures/0.jpg,0,a", "pictures/1.jpg,0,b"], "calls label 0 both 'a' and 'b'"),
    ],
)
def test_wrong_tables(table, lines, sentence):
    with pytest.raises(InputError, match=sentence):
        load(str(table(lines)))


def test_broken_zip(tmp_path, table):
    (tmp_path / "archive.zip").write_bytes(b"no zip")
    with pytest.raises(InputError, match="no readable zip"):
        load(str(table(["file,label", "x.jpg,0", "y.jpg,1"])))


def test_text_that_is_not_utf8(table):
    path = table(["file,label", *rows(["k\u00e4fer", "biene"] * 4)])
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    with pytest.raises(InputError, match="save it as UTF-8"):
        load(str(path))


def test_cifar10_zip(shared_data):
    data = load(str(shared_data / "cifar10"), progress=False)
    assert {name: len(examples) for name, examples in data.splits.items()} == {
        "train": 10000,
        "val": 1000,
        "test": 2000,
    }
    assert data.class_names[0] == "airplane"
    assert data.class_names[9] == "truck"
    assert data.train.raw(0)[:2] == b"\xff\xd8"


def test_one_image_a_class(shared_data):
    data = load(str(shared_data / "imagenet_sample"), val_fraction=0, test_fraction=0, progress=False)
    assert len(data.train) == 1000
    assert data.class_names[1] == "goldfish"
    with pytest.raises(InputError, match="too few for 3 splits"):
        load(str(shared_data / "imagenet_sample"), progress=False)


def test_csv_wins_over_folders(shared_data):
    data = load(str(shared_data / "chest_xray"), progress=False)
    assert list(data.counts["train"].values()) == [86, 350, 350]
    assert list(data.counts["val"].values()) == [19, 75, 75]
    assert data.test is None

"""The pre-flight check: bad files, --skip-bad, leakage and disputed labels."""

from __future__ import annotations

import shutil
import struct
import zlib

import pytest

from keras_vit.data import load
from keras_vit.errors import InputError


def truncate(path):
    path.write_bytes(path.read_bytes()[:-200])


def empty(path):
    path.write_bytes(b"")


def words(path):
    path.write_text("not an image")


def bomb(path):
    """A PNG header that promises 20000 x 20000 pixels."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9))))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (truncate, "damaged"),
        (empty, "the file is empty"),
        (words, "damaged, or not a JPEG"),
        (bomb, "more than 178 million pixels"),
    ],
)
def test_bad_file_is_named(class_folders, damage, problem):
    damage(class_folders / "dog" / "4.jpg")
    with pytest.raises(InputError, match=rf"1 image cannot be used: .*dog/4\.jpg \({problem}.*--skip-bad"):
        load(str(class_folders))


def test_skip_bad_leaves_them_out(class_folders):
    for i in range(5):
        truncate(class_folders / "cat" / f"{i}.jpg")
    with pytest.raises(InputError, match=r"5 images .*0\.jpg.*1\.jpg.*2\.jpg.* and 2 more"):
        load(str(class_folders))
    data = load(str(class_folders), skip_bad=True)
    assert sum(sum(counts.values()) for counts in data.counts.values()) == 15
    assert any("5 images cannot be used and were left out" in note for note in data.notes)


def test_skip_bad_that_empties_a_class_fails(class_folders):
    for path in (class_folders / "cat").iterdir():
        empty(path)
    with pytest.raises(InputError, match="no image of 1 of the 2 classes"):
        load(str(class_folders), skip_bad=True)


def test_leakage_is_reported(split_folders):
    shutil.copy(split_folders / "train/cat/0.jpg", split_folders / "test/cat/copy.jpg")
    shutil.copy(split_folders / "train/cat/1.jpg", split_folders / "valid/cat/copy.jpg")
    notes = load(str(split_folders)).notes
    assert len(notes) == 2
    assert "1 image(s) of val" in notes[0]
    assert "test/cat/copy.jpg" in notes[1]
    assert "train/cat/0.jpg" in notes[1]


def test_disputed_labels_are_reported(split_folders):
    shutil.copy(split_folders / "train/cat/0.jpg", split_folders / "train/dog/copy.jpg")
    (note,) = load(str(split_folders)).notes
    assert "different labels" in note
    assert "(cat)" in note
    assert "(dog)" in note

"""Masks: every way they come, what their values mean, and what is refused."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_vit.data import IGNORE, MASKS, align, load
from keras_vit.data.masks import decode_mask
from keras_vit.errors import InputError

SIZE = (30, 40)
VALUES = (0, 1, 2, 255)


def write_mask(path: Path, values=VALUES, size=SIZE):
    """A grey PNG of upright bands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = np.repeat(np.array(values, np.uint8), size[1] // len(values))
    Image.fromarray(np.tile(bands, (size[0], 1))).save(path)


@pytest.fixture
def folder(tmp_path, make_images) -> Path:
    """`images/0.jpg` to `images/7.jpg`, and masks of the values 0, 1, 2 and 255."""
    for path in make_images(tmp_path / "images", 8):
        write_mask(tmp_path / "masks" / f"{path.stem}.png")
    return tmp_path


@pytest.fixture
def split_folders(tmp_path, make_images) -> Path:
    """`train`, `valid` and `test`, each with `images` and `masks`, 4 / 2 / 2 of them."""
    for split, count in {"train": 4, "valid": 2, "test": 2}.items():
        for path in make_images(tmp_path / split / "images", count):
            write_mask(tmp_path / split / "masks" / f"{path.stem}.png")
    return tmp_path


def values_of(examples) -> set[tuple[int, ...]]:
    return {tuple(np.unique(examples.labels.read(i)).tolist()) for i in range(len(examples))}


def encoded(image: Image.Image, path: Path, **options) -> np.ndarray:
    image.save(path, "PNG", **options)
    return decode_mask(path.read_bytes())


def test_grey_of_8_and_16_bits_is_read_as_it_is(tmp_path):
    for dtype, most in ((np.uint8, 256), (np.uint16, 65536)):
        values = np.random.default_rng(0).integers(0, most, (9, 7)).astype(dtype)
        np.testing.assert_array_equal(encoded(Image.fromarray(values), tmp_path / "a.png"), values)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_indices_are_not_colours(tmp_path, bits):
    values = np.random.default_rng(0).integers(0, 2**bits, (9, 7)).astype(np.uint8)
    image = Image.fromarray(values)
    image.putpalette(np.random.default_rng(1).integers(0, 256, 3 * 2**bits).tolist())
    np.testing.assert_array_equal(encoded(image, tmp_path / "a.png", bits=bits), values)
    assert (tmp_path / "a.png").read_bytes()[24] == bits


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_is_not_spread(bits):
    values = np.random.default_rng(0).integers(0, 2**bits, (6, 8))

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    lines = b""
    for row in values.tolist():
        number = sum(value << (bits * (7 - i)) for i, value in enumerate(row))
        lines += b"\0" + number.to_bytes(bits, "big")
    header = struct.pack(">IIBBBBB", 8, 6, bits, 0, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(decode_mask(b"\x89PNG\r\n\x1a\n" + content), values)


def test_splits_around_the_folders(split_folders):
    data = load(str(split_folders), labels=MASKS)
    assert data.counts == {"train": {"images": 4}, "val": {"images": 2}, "test": {"images": 2}}
    assert data.class_names == ["0", "1", "2"]
    assert values_of(data.test) == {(IGNORE, 0, 1, 2)}
    assert data.train.labels.read(0).shape == SIZE
    assert data.train.labels.read(0).dtype == np.int32


def test_splits_inside_the_folders(split_folders, tmp_path):
    for kind in ("images", "masks"):
        for split in ("train", "valid", "test"):
            (tmp_path / "inside" / kind).mkdir(parents=True, exist_ok=True)
            name = "val" if split == "valid" and kind == "masks" else split
            shutil.copytree(split_folders / split / kind, tmp_path / "inside" / kind / name)
    inside, around = load(str(tmp_path / "inside"), labels=MASKS), load(str(split_folders), labels=MASKS)
    assert inside.counts == around.counts
    assert inside.fingerprint == around.fingerprint


def test_splits_are_carved_by_seed(folder):
    data = load(str(folder), labels=MASKS, val_fraction=0.25, test_fraction=0.25, seed=3)
    assert data.counts == {"train": {"images": 4}, "val": {"images": 2}, "test": {"images": 2}}
    assert "at random, seed 3" in data.notes[0]
    files = sorted(path for examples in data.splits.values() for path in examples.paths)
    assert [Path(path).stem for path in files] == [str(i) for i in range(8)]
    again = load(str(folder), labels=MASKS, val_fraction=0.25, test_fraction=0.25, seed=3)
    assert again.fingerprint == data.fingerprint
    assert load(str(folder), labels=MASKS, val_fraction=0.25, seed=4).fingerprint != data.fingerprint
    for i in range(2, 8):
        (folder / "images" / f"{i}.jpg").unlink()
        (folder / "masks" / f"{i}.png").unlink()
    with pytest.raises(InputError, match="too few for 3 splits"):
        load(str(folder), labels=MASKS)


def test_masks_follow_their_images(folder):
    for i in range(8):
        write_mask(folder / "masks" / f"{i}.png", (i % 4, 3))
    (folder / "labels.txt").write_text("a\nb\nc\nd\n")
    data = load(str(folder), labels=MASKS, val_fraction=0.25)
    for examples in data.splits.values():
        for i, path in enumerate(examples.paths):
            assert examples.labels.read(i)[0, 0] == int(Path(path).stem) % 4
    picked = data.train.subset([2, 0])
    assert picked.labels.digest(1) == data.train.labels.digest(0)


@pytest.mark.parametrize(
    ("name", "content", "names", "first"),
    [
        ("classes.json", '["a", "b", "c"]', ["a", "b", "c"], [IGNORE, 0, 1, 2]),
        ("classes.json", '{"classes": ["a", "b", "c"], "ignore_index": 2}', ["a", "b"], [IGNORE, 0, 1]),
        ("classes.json", '{"classes": ["a", "b", "c"], "ignore_index": 0}', ["b", "c"], [IGNORE, 0, 1]),
        ("classes.txt", "a\nb\n\nc\nd\n", ["a", "b", "c", "d"], [IGNORE, 0, 1, 2]),
        ("labels.txt", "a\nb\nc", ["a", "b", "c"], [IGNORE, 0, 1, 2]),
    ],
)
def test_class_names(folder, name, content, names, first):
    (folder / name).write_text(content)
    data = load(str(folder), labels=MASKS, val_fraction=0, test_fraction=0)
    assert data.class_names == names
    assert values_of(data.train) == {tuple(first)}
    assert data.val is None


def test_classes_without_names_are_the_values_that_are_found(folder):
    for i in range(8):
        write_mask(folder / "masks" / f"{i}.png", (1, 2, 7, 255))
    data = load(str(folder), labels=MASKS)
    assert data.class_names == ["1", "2", "7"]
    assert values_of(data.train) == {(IGNORE, 0, 1, 2)}


def test_align_renumbers(folder):
    (folder / "classes.txt").write_text("a\nb\nc\n")
    data = align(load(str(folder), labels=MASKS), ["c", "x", "b", "a"])
    assert data.train.labels.read(0)[0, [0, 10, 20, 30]].tolist() == [3, 2, 0, IGNORE]


def test_csv(folder):
    lines = ["file,mask,split"] + [f"images/{i}.jpg,masks/{i}.png,{'train' if i < 6 else 'val'}" for i in range(8)]
    (folder / "pairs.csv").write_text("\n".join(lines))
    for spec in (folder, folder / "pairs.csv"):
        data = load(str(spec), labels=MASKS)
        assert data.counts == {"train": {"images": 6}, "val": {"images": 2}}
        assert values_of(data.val) == {(IGNORE, 0, 1, 2)}
    (folder / "pairs.csv").write_text("\n".join([*lines, "images/0.jpg,masks/9.png,test"]))
    with pytest.raises(InputError, match=r"names 1 mask\(s\) that are not there, the first is masks/9\.png"):
        load(str(folder), labels=MASKS)
    (folder / "pairs.csv").write_text("file,split\nimages/0.jpg,train")
    with pytest.raises(InputError, match="needs the columns file and mask"):
        load(str(folder / "pairs.csv"), labels=MASKS)


@pytest.mark.parametrize("channel", [(), (1,)], ids=str)
def test_npz(tmp_path, channel):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 8, 9, 3), np.uint8)
    masks = rng.choice(np.array([0, 1, 255]), (6, 8, 9)).astype(np.uint8)
    path = tmp_path / "data.npz"
    arrays = {"x_train": images[:4], "y_train": masks[:4].reshape(4, 8, 9, *channel), "x_val": images[4:]}
    np.savez(path, **arrays, y_val=masks[4:].astype(np.int64), class_names=["sky", "sea"])
    data = load(str(path), labels=MASKS)
    assert data.class_names == ["sky", "sea"]
    np.testing.assert_array_equal(data.val.labels.read(1), np.where(masks[5] == 255, IGNORE, masks[5].astype(int)))
    np.savez(path, **arrays, y_val=masks[4:, 0])
    with pytest.raises(InputError, match=r"y_val of .* shape \(2, 9\): make it masks"):
        load(str(path), labels=MASKS)
    np.savez(path, **arrays, y_val=masks[4:5])
    with pytest.raises(InputError, match="2 images in x_val and 1 masks in y_val"):
        load(str(path), labels=MASKS)
    np.savez(path, **arrays, y_val=np.where(masks[4:] == 255, -1, masks[4:].astype(int)), class_names=["sky", "sea"])
    with pytest.raises(InputError, match="the mask has the value -1, which is none of the 2 classes"):
        load(str(path), labels=MASKS)


def test_a_mask_with_an_unknown_value(folder):
    (folder / "classes.txt").write_text("a\nb\nc\n")
    write_mask(folder / "masks" / "3.png", (0, 3))
    sentence = r"1 image cannot be used: .*3\.jpg \(the mask has the value 3, which is none of the 3 classes\); mend"
    with pytest.raises(InputError, match=sentence):
        load(str(folder), labels=MASKS)
    data = load(str(folder), labels=MASKS, skip_bad=True)
    assert sum(counts["images"] for counts in data.counts.values()) == 7
    assert any("3.jpg" in note for note in data.notes)


def test_a_mask_of_another_size(folder):
    write_mask(folder / "masks" / "3.png", size=(30, 44))
    with pytest.raises(InputError, match=r"3\.jpg \(the mask is 44 x 30 pixels and the image 40 x 30\)"):
        load(str(folder), labels=MASKS)


def test_masks_of_a_kind_that_cannot_be(folder):
    colours = Image.open(folder / "images" / "0.jpg")
    colours.save(folder / "masks" / "0.png")
    with pytest.raises(InputError, match=r"0\.jpg \(the mask is a picture of mode RGB: save class numbers as"):
        load(str(folder), labels=MASKS)
    (folder / "masks" / "0.png").unlink()
    colours.convert("L").save(folder / "masks" / "0.jpg")
    with pytest.raises(InputError, match=r"0\.jpg \(the mask is a JPEG, which does not keep values"):
        load(str(folder), labels=MASKS)
    (folder / "masks" / "0.jpg").unlink()
    (folder / "masks" / "0.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"0\.jpg \(the mask cannot be read"):
        load(str(folder), labels=MASKS)


def test_missing_files(folder):
    (folder / "masks" / "3.png").unlink()
    with pytest.raises(InputError, match=r"1 image\(s\) have no mask of the same name, the first is .*3\.jpg"):
        load(str(folder), labels=MASKS)
    write_mask(folder / "masks" / "3.png")
    (folder / "images" / "4.jpg").unlink()
    with pytest.raises(InputError, match=r"1 mask file\(s\) have no image of the same name, the first is .*4\.png"):
        load(str(folder), labels=MASKS)
    (folder / "masks" / "4.png").unlink()
    shutil.copy(folder / "images" / "3.jpg", folder / "images" / "3.png")
    with pytest.raises(InputError, match="have the same name"):
        load(str(folder), labels=MASKS)


def test_missing_folders(folder, tmp_path):
    shutil.move(folder / "masks", folder / "other")
    with pytest.raises(InputError, match="has no folder masks beside images"):
        load(str(folder), labels=MASKS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no folders images and masks"):
        load(str(tmp_path / "empty"), labels=MASKS)
    for name in ("images", "masks"):
        (tmp_path / "empty" / name).mkdir()
    with pytest.raises(InputError, match="has no images"):
        load(str(tmp_path / "empty"), labels=MASKS)
    with pytest.raises(InputError, match="There is no data at"):
        load(str(tmp_path / "nowhere"), labels=MASKS)
    (tmp_path / "words.doc").write_text("")
    with pytest.raises(InputError, match="is no kind of data that is known"):
        load(str(tmp_path / "words.doc"), labels=MASKS)


def test_one_split_twice(split_folders):
    shutil.copytree(split_folders / "valid", split_folders / "val")
    with pytest.raises(InputError, match="are both the val split"):
        load(str(split_folders), labels=MASKS)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is no JSON"),
        ('{"names": ["a"]}', "has no list of class names"),
        ('["a", "a"]', "names the class 'a' twice"),
        ("[]", "names no classes"),
        ('{"classes": ["a", "b"], "ignore_index": "b"}', "ignore_index of .* is 'b'"),
    ],
)
def test_wrong_class_files(folder, content, sentence):
    (folder / "classes.json").write_text(content)
    with pytest.raises(InputError, match=sentence):
        load(str(folder), labels=MASKS)


def test_masks_of_one_class(folder):
    for i in range(8):
        write_mask(folder / "masks" / f"{i}.png", (0, 255))
    with pytest.raises(InputError, match=r"only one class \(0\): number at least two classes from 0, the value 255"):
        load(str(folder), labels=MASKS)


def test_the_same_image_with_two_masks(split_folders):
    shutil.copy(split_folders / "train/images/0.jpg", split_folders / "test/images/copy.jpg")
    write_mask(split_folders / "test/masks/copy.png", (0, 1))
    leak, disputed = load(str(split_folders), labels=MASKS).notes
    assert "1 image(s) of test are byte for byte in train" in leak
    assert "different labels" in disputed
    assert "(" not in disputed.split(":", 1)[1].replace("(s)", "")


def test_camvid(shared_data):
    root = shared_data / "camvid"
    data = load(str(root), labels=MASKS)
    assert {split: counts["images"] for split, counts in data.counts.items()} == {"train": 367, "val": 101, "test": 233}
    said = json.loads((root / "classes.json").read_text())
    assert data.class_names == said["classes"][:11]
    pixels = sum(
        np.bincount(examples.labels.read(i).ravel() + 1, minlength=12)
        for examples in data.splits.values()
        for i in range(len(examples))
    )
    assert [*pixels[1:], pixels[0]] == said["pixel_counts"]

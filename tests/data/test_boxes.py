"""Boxes: COCO, Pascal VOC and YOLO, told to be the same by their boxes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from box_files import HEIGHT, NAMES, OBJECTS, SPLITS, WIDTH, coco, voc, whole, write
from PIL import Image

from keras_vit.data import BOXES, align, load
from keras_vit.errors import InputError


def check_same(data, splits=SPLITS, digits=4):
    """The splits hold the boxes of OBJECTS."""
    assert data.class_names == NAMES
    assert set(data.splits) == set(splits)
    for split, members in splits.items():
        examples = data.splits[split]
        assert [int(Path(path).stem) for path in examples.paths] == list(members)
        for place, i in enumerate(members):
            labels, expected = examples.labels, np.array(OBJECTS[i], float).reshape(-1, 5)
            np.testing.assert_allclose(labels.boxes[place], expected[:, :4], atol=10**-digits)
            np.testing.assert_array_equal(labels.classes[place], expected[:, 4])
            sides = expected[:, 2:4] - expected[:, :2]
            np.testing.assert_allclose(labels.areas[place], sides[:, 0] * sides[:, 1], rtol=1e-3)
            assert not labels.crowd[place].any()
            assert labels.boxes[place].dtype == labels.areas[place].dtype == np.float32
            assert (labels.classes[place].dtype, labels.crowd[place].dtype) == (np.int64, bool)


def test_coco_file(coco_file):
    data = whole(coco_file)
    check_same(data, {"train": range(5)})
    assert data.counts == {"train": {"cat": 2, "dog": 3}}
    assert data.train.labels.most == 2
    np.testing.assert_array_equal(data.train.labels.targets(1), [[0, 0, 40, 30, 1]])
    assert data.train.labels.targets(2).shape == (0, 5)
    check_same(whole(coco_file.parent), {"train": range(5)})


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        ("instances_{}.json", "images"),
        ("annotations/instances_{}2017.json", "{}2017"),
        ("annotations/{}.json", "images/{}"),
        ("{}/_annotations.coco.json", "{}"),
    ],
)
def test_coco_folders(tmp_path, pictures, annotations, images):
    root = tmp_path / "coco"
    for split, members in SPLITS.items():
        shutil.copytree(pictures, root / images.format(split), dirs_exist_ok=True)
        write(root / annotations.format(split), coco(members))
    if annotations.startswith("annotations/instances"):
        write(root / "annotations" / "captions_train2017.json", {})
    check_same(load(str(root), labels=BOXES))


def test_voc(voc_folder):
    check_same(load(str(voc_folder), labels=BOXES))
    shutil.rmtree(voc_folder / "ImageSets")
    check_same(whole(voc_folder), {"train": range(5)})
    (voc_folder / "Annotations" / "2.xml").unlink()
    data = whole(voc_folder)
    check_same(data, {"train": (0, 1, 3, 4)})
    assert "1 image(s)" in data.notes[0]


def test_voc_trainval_and_difficult(voc_folder):
    lists = voc_folder / "ImageSets" / "Main"
    shutil.move(lists / "train.txt", lists / "trainval.txt")
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    hard = f"<object><name>dog</name><difficult>1</difficult>{box}</object>"
    write(voc_folder / "Annotations" / "0.xml", voc(0, hard))
    labels = load(str(voc_folder), labels=BOXES).train.labels
    assert labels.crowd[0].tolist() == [False, False, True]
    assert len(labels.targets(0)) == 2
    assert labels.counts(NAMES) == {"cat": 1, "dog": 2}
    np.testing.assert_array_equal(labels.boxes[0][2], [0, 0, 9, 9])


def test_yolo(yolo_folder, tmp_path):
    check_same(load(str(yolo_folder), labels=BOXES))
    check_same(load(str(yolo_folder / "data.yaml"), labels=BOXES))
    # Roboflow's folders, its classes by number, and a list of classes among the labels.
    around = tmp_path / "around"
    for split in SPLITS:
        for kind in ("images", "labels"):
            shutil.copytree(yolo_folder / kind / split, around / split / kind)
    write(around / "train" / "labels" / "classes.txt", "cat\ndog\n")
    write(around / "data.yaml", "names: {0: cat, 1: dog}\n")
    check_same(load(str(around), labels=BOXES))
    (around / "data.yaml").unlink()
    write(around / "classes.txt", "cat\ndog\n")
    check_same(load(str(around), labels=BOXES))


def test_yolo_knows_images_that_lie_on_their_side(yolo_folder):
    path = yolo_folder / "images" / "test" / "4.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (HEIGHT, WIDTH)).save(path, exif=exif)  # shown WIDTH x HEIGHT
    check_same(load(str(yolo_folder), labels=BOXES))


def test_the_fingerprint_knows_the_boxes(coco_file):
    first = whole(coco_file).fingerprint
    assert whole(coco_file).fingerprint == first
    changed = coco()
    changed["annotations"][0]["bbox"][0] += 1
    write(coco_file, changed)
    assert whole(coco_file).fingerprint != first


def test_crowds_and_areas(coco_file):
    content = coco()
    content["annotations"][0] |= {"iscrowd": 1}
    content["annotations"][1] |= {"area": 12.5, "segmentation": []}
    write(coco_file, content)
    labels = whole(coco_file).train.labels
    assert labels.crowd[0].tolist() == [True, False]
    assert labels.areas[0].tolist() == [270, 12.5]
    assert labels.targets(0)[:, 4].tolist() == [1]


def test_align_renumbers(coco_file):
    data = align(whole(coco_file), ["dog", "bird", "cat"])
    assert data.train.labels.classes[0].tolist() == [2, 0]
    assert data.counts == {"train": {"dog": 3, "bird": 0, "cat": 2}}


def test_a_pixel_beyond_the_image_is_rounding(coco_file):
    content = coco()
    content["annotations"][0]["bbox"] = [-1, -0.5, WIDTH + 2, HEIGHT + 1.5]
    write(coco_file, content)
    assert len(whole(coco_file).train) == 5


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        ([30, 5, 12, 5], "the box from 30, 5 to 42, 10 is outside its 40 x 30 pixels"),
        ([-3, 5, 12, 5], "is outside its"),
        ([3, 5, 12, 500], "is outside its"),
        ([3, 5, 0, 5], "the box from 3, 5 to 3, 10 has no area in its 40 x 30 pixels"),
        ([3, 5, 5, -2], "has no area"),
        ([40, 5, 1, 5], "has no area"),
    ],
)
def test_boxes_that_cannot_be(coco_file, box, problem):
    content = coco()
    content["annotations"][0]["bbox"] = box
    write(coco_file, content)
    with pytest.raises(InputError, match=rf"1 image cannot be used: .*0\.jpg \(.*{problem}"):
        whole(coco_file)
    data = load(str(coco_file), labels=BOXES, val_fraction=0, test_fraction=0, skip_bad=True)
    assert len(data.train) == 4


def test_annotations_of_another_image_size(coco_file):
    content = coco()
    content["images"][1] |= {"width": HEIGHT, "height": WIDTH}
    write(coco_file, content)
    with pytest.raises(InputError, match=r"1\.jpg \(its annotations are for 30 x 40 pixels and the image has 40 x 30"):
        whole(coco_file)


def test_bccd(shared_data):
    root = shared_data / "bccd"
    data = load(str(root), labels=BOXES)
    assert data.class_names == ["RBC", "WBC", "Platelets"]
    assert {split: len(examples) for split, examples in data.splits.items()} == {"train": 205, "val": 87, "test": 72}
    assert {split: sum(counts.values()) for split, counts in data.counts.items()} == {
        "train": 2804,
        "val": 1137,
        "test": 945,
    }
    content = json.loads((root / "instances_val.json").read_text())
    row = content["annotations"][17]
    (place,) = (i for i, path in enumerate(data.val.paths) if path.endswith(content["images"][0]["file_name"]))
    first = [row["bbox"] for row in content["annotations"] if row["image_id"] == content["images"][0]["id"]]
    x, y, width, height = np.array(first).T
    np.testing.assert_allclose(data.val.labels.boxes[place], np.stack([x, y, x + width, y + height], 1))
    assert row["area"] in np.concatenate(data.val.labels.areas)

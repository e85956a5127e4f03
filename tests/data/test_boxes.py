"""Boxes: COCO, Pascal VOC and YOLO, told to be the same by their boxes; and what is refused."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_vit.data import BOXES, align, load
from keras_vit.errors import InputError

WIDTH, HEIGHT = 40, 30
# Of each image (x0, y0, x1, y1, class): the third has none.
OBJECTS = [[(2, 3, 20, 18, 0), (10, 5, 40, 30, 1)], [(0, 0, 40, 30, 1)], [], [(5, 6, 8, 9, 0)], [(1, 1, 3, 5, 1)]]
NAMES = ["cat", "dog"]
SPLITS = {"train": (0, 1, 2), "val": (3,), "test": (4,)}


def coco(images=range(5)) -> dict:
    annotations = [
        {"image_id": i, "category_id": 3 + 4 * label, "bbox": [x0, y0, x1 - x0, y1 - y0]}
        for i in images
        for x0, y0, x1, y1, label in OBJECTS[i]
    ]
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": WIDTH, "height": HEIGHT} for i in images],
        "annotations": [{"id": number, **row} for number, row in enumerate(annotations)],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    }


def write(path: Path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def voc(i: int, extra: str = "") -> str:
    def item(x0, y0, x1, y1, label):
        corners = f"<xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        return f"<object><name>{NAMES[label]}</name><difficult>0</difficult><bndbox>{corners}</bndbox></object>"

    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    return f"<annotation>{size}{''.join(item(*row) for row in OBJECTS[i])}{extra}</annotation>"


def yolo(i: int) -> str:
    return "\n".join(
        f"{label} {(x0 + x1) / 2 / WIDTH} {(y0 + y1) / 2 / HEIGHT} {(x1 - x0) / WIDTH} {(y1 - y0) / HEIGHT}"
        for x0, y0, x1, y1, label in OBJECTS[i]
    )


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


def whole(spec):
    return load(str(spec), labels=BOXES, val_fraction=0, test_fraction=0)


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


def changed(**changes):
    """A COCO file in which `images__1={...}` updates or None removes a row or a part."""
    content = copy.deepcopy(coco())
    for place, value in changes.items():
        part, _, row = place.partition("__")
        if not row:
            content[part] = value
        else:
            content[part][int(row)] |= value
    return content


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is no JSON"),
        ("{'images': 1}", "is no JSON"),
        ("[" * 100000, "is no JSON"),
        ("[]", "has no list 'images'"),
        ({}, "has no list 'images'"),
        (changed(annotations=None), "has no list 'annotations'"),
        (changed(annotations=[1]), "has no list 'annotations'"),
        (changed(images=[], annotations=[]), "names no images"),
        (changed(annotations=[]), "train split has no boxes"),
        (changed(annotations__0={"category_id": 5}), "category id 5, which is none of its 2 categories"),
        (changed(categories=[]), "category id 3, which is none of its 0 categories"),
        (changed(annotations=[], categories=[]), "names no classes"),
        (changed(categories__0={"id": 3}), "the category id 3 twice"),
        (changed(categories__0={"name": "cat"}), "Two categories are called 'cat'"),
        (changed(images__1={"id": 0}), r"the image id 0 twice \(1\.jpg\)"),
        (changed(images__1={"id": None}), "has id None in"),
        (changed(images__1={"file_name": 7}), "has file_name 7 in"),
        (changed(annotations__2={"image_id": 99}), "an annotation of the image id 99, which no image has"),
        (
            changed(annotations__2={"bbox": [1, 2, 3]}),
            r"the box \[1, 2, 3\] in annotation 2 of image id 1: make it four",
        ),
        (changed(annotations__2={"bbox": [1, 2, 3, "4"]}), "make it four numbers"),
        (changed(annotations__2={"bbox": [1, 2, 3, float("nan")]}), "make it four numbers"),
        (
            changed(images__1={"file_name": "lost.jpg"}),
            r"names 1 image\(s\) that are not there, the first is lost\.jpg",
        ),
    ],
    ids=range(22),
)
def test_wrong_coco(coco_file, content, sentence):
    write(coco_file, content)
    with pytest.raises(InputError, match=sentence):
        whole(coco_file)


def test_coco_files_that_disagree(coco_file):
    coco_file.unlink()
    write(coco_file.parent / "train.json", coco(range(3)))
    write(coco_file.parent / "val.json", coco([3]) | {"categories": [{"id": 3, "name": "bird"}]})
    with pytest.raises(InputError, match="calls category 3 'bird', elsewhere 'cat'"):
        load(str(coco_file.parent), labels=BOXES)
    write(coco_file.parent / "valid.json", coco([3]))
    with pytest.raises(InputError, match="are both the val split"):
        load(str(coco_file.parent), labels=BOXES)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is no readable XML"),
        ("<annotation><object></annotation>", "is no readable XML"),
        (voc(0, "<object><name>dog</name></object>"), "Object 3 of .* has no four numbers"),
        (voc(0).replace("<xmin>3<", "<xmin>three<"), "Object 1 of .* has no four numbers"),
        (voc(0).replace("<name>cat</name>", ""), "Object 1 of .* lacks a name"),
        ('<!DOCTYPE a [<!ENTITY b "bomb">]><annotation>&b;</annotation>', "declares a document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "declares a document type"),
        (voc(0).replace("<xmax>20<", "<xmax>70<"), r"0\.jpg \(the box from 2, 3 to 70, 18 is outside"),
    ],
    ids=range(8),
)
def test_wrong_voc(voc_folder, content, sentence):
    write(voc_folder / "Annotations" / "0.xml", content)
    with pytest.raises(InputError, match=sentence):
        load(str(voc_folder), labels=BOXES)


def test_voc_files_that_do_not_match(voc_folder):
    write(voc_folder / "classes.txt", "cat\ndoge\n")
    with pytest.raises(InputError, match="object of the class 'dog', which is unknown: did you mean 'doge'"):
        load(str(voc_folder), labels=BOXES)
    (voc_folder / "classes.txt").unlink()
    (voc_folder / "Annotations" / "1.xml").unlink()
    with pytest.raises(InputError, match=r"train\.txt names '1', which has no annotation"):
        load(str(voc_folder), labels=BOXES)
    (voc_folder / "JPEGImages" / "0.jpg").unlink()
    with pytest.raises(
        InputError, match=r"1 annotation file\(s\) have no image of the same name, the first is .*0\.xml"
    ):
        load(str(voc_folder), labels=BOXES)
    for path in (voc_folder / "Annotations").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"has no \.xml files"):
        load(str(voc_folder), labels=BOXES)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("0 0.5 0.5 0.2", r"Line 2 of .*0\.txt is '0 0\.5 0\.5 0\.2': write class x y width height"),
        ("0 0.5 0.5 0.2 0.1 0.3 0.3", "five numbers"),
        ("cat 0.5 0.5 0.2 0.2", "five numbers"),
        ("0.5 0.5 0.5 0.2 0.2", "five numbers"),
        ("0 nan 0.5 0.2 0.2", "five numbers"),
        ("2 0.5 0.5 0.2 0.2", "Line 2 of .* has the class 2, but there are 2, from 0"),
        ("-1 0.5 0.5 0.2 0.2", "has the class -1"),
        ("0 0.5 0.5 0 0.2", r"0\.jpg \(the box from 20, 12 to 20, 18 has no area"),
        ("0 0.5 0.5 1.2 0.2", r"0\.jpg \(the box from -4, 12 to 44, 18 is outside"),
        ("0 320 240 20 20", r"0\.jpg \(.* is outside"),
    ],
)
def test_wrong_yolo(yolo_folder, line, sentence):
    write(yolo_folder / "labels" / "train" / "0.txt", f"0 0.5 0.5 0.2 0.2\n{line}\n")
    with pytest.raises(InputError, match=sentence):
        load(str(yolo_folder), labels=BOXES)


def test_yolo_files_that_do_not_match(yolo_folder):
    write(yolo_folder / "labels" / "train" / "8.txt", "")
    with pytest.raises(InputError, match=r"1 label file\(s\) have no image of the same name, the first is .*8\.txt"):
        load(str(yolo_folder), labels=BOXES)
    write(yolo_folder / "data.yaml", "nc: 2")
    with pytest.raises(InputError, match=r"data\.yaml has no list of names"):
        load(str(yolo_folder), labels=BOXES)
    write(yolo_folder / "data.yaml", "names: [")
    with pytest.raises(InputError, match="is no readable YAML"):
        load(str(yolo_folder), labels=BOXES)
    (yolo_folder / "data.yaml").unlink()
    with pytest.raises(InputError, match=r"does not name its classes: add a data\.yaml"):
        load(str(yolo_folder), labels=BOXES)


def test_unknown_places(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"is no kind of data that is known: give a folder with COCO's"):
        load(str(tmp_path / "empty"), labels=BOXES)
    with pytest.raises(InputError, match="There is no data at"):
        load(str(tmp_path / "nowhere"), labels=BOXES)
    for name in ("voc/Annotations", "voc/JPEGImages", "yolo/images", "yolo/labels"):
        (tmp_path / name).mkdir(parents=True)
    write(tmp_path / "yolo" / "classes.txt", "cat")
    for name in ("voc", "yolo"):
        with pytest.raises(InputError, match="has no images"):
            load(str(tmp_path / name), labels=BOXES)


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

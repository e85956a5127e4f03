"""Boxes that cannot be read: one sentence each."""

from __future__ import annotations

import copy

import pytest
from box_files import coco, voc, whole, write

from keras_vit.data import BOXES, load
from keras_vit.errors import InputError


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

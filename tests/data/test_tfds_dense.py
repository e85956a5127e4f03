"""Masks and boxes from TFDS: small real data sets are built on disk and read back."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_vit.data import BOXES, IGNORE, MASKS, eval_dataset, load
from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

SPLITS = {"train": 8, "validation": 3, "test": 2, "extra": 1}
SIZE = (20, 30)


def picture(split: str, index: int) -> np.ndarray:
    return np.random.default_rng([len(split), index]).integers(0, 256, (*SIZE, 3), np.uint8)


def trimap(split: str, index: int) -> np.ndarray:
    return np.random.default_rng([len(split), index]).choice(np.array([1, 2, 3, 255], np.uint8), (*SIZE, 1))


def objects(split: str, index: int) -> list[dict]:
    """As many as the index says, in whole pixels; the first of each is a crowd."""
    height, width = SIZE
    return [
        {
            "bbox": tfds.features.BBox(ymin=i / height, xmin=2 * i / width, ymax=(i + 9) / height, xmax=1.0),
            "label": i % 2,
            "is_crowd": i == 0,
        }
        for i in range(index)
    ]


class DenseBuilder(tfds.core.GeneratorBasedBuilder):
    """Pictures with a mask and objects each; the config named has a mask with class names."""

    name = "dense_shapes"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (tfds.core.BuilderConfig(name="plain"), tfds.core.BuilderConfig(name="named"))

    def _info(self):
        shape = (None, None, 1)
        plain = tfds.features.Image(shape=shape, dtype=np.uint8, encoding_format="png")
        named = tfds.features.LabeledImage(labels=["void", "a", "b", "c"], shape=shape)
        thing = {
            "bbox": tfds.features.BBoxFeature(),
            "label": tfds.features.ClassLabel(names=["round", "square"]),
            "is_crowd": np.bool_,
        }
        features = {
            "image": tfds.features.Image(),
            "label": tfds.features.ClassLabel(names=["x", "y"]),
            "segmentation_mask": named if self.builder_config.name == "named" else plain,
            "objects": tfds.features.Sequence(thing),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split, count) for split, count in SPLITS.items()}

    def _generate_examples(self, split, count):
        for i in range(count):
            yield (
                i,
                {
                    "image": picture(split, i),
                    "label": 0,
                    "segmentation_mask": trimap(split, i),
                    "objects": objects(split, i),
                },
            )


@pytest.fixture(params=["tfrecord", "array_record"])
def prepared(request, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for config in ("plain", "named"):
        DenseBuilder(config=config, data_dir=tmp_path, file_format=request.param).download_and_prepare()


def order(examples, split) -> list[int]:
    """Which picture each example is; TFDS shuffles them."""
    record = Preprocessing(SIZE, crop=1.0)
    ((images, _),) = eval_dataset(examples, record, labels=MASKS, num_classes=3, batch_size=len(examples))
    known = {picture(split, i).tobytes(): i for i in range(len(examples))}
    return [known[image.astype(np.uint8).tobytes()] for image in images.numpy()]


def test_masks(prepared):
    data = load("tfds:dense_shapes:plain", labels=MASKS)
    assert data.class_names == ["1", "2", "3"]
    assert {split: len(examples) for split, examples in data.splits.items()} == {"train": 8, "val": 3, "test": 2}
    assert "extra" in data.notes[0]
    for place, i in enumerate(order(data.train, "train")):
        raw = trimap("train", i)[..., 0].astype(int)
        np.testing.assert_array_equal(data.train.labels.read(place), np.where(raw == 255, IGNORE, raw - 1))
    named = load("tfds:dense_shapes:named", labels=MASKS)
    assert named.class_names == ["void", "a", "b", "c"]
    assert np.unique(named.val.labels.read(0)).tolist() == [IGNORE, 1, 2, 3]


def test_boxes(prepared):
    data = load("tfds:dense_shapes:plain", labels=BOXES)
    masks = load("tfds:dense_shapes:plain", labels=MASKS)
    assert data.class_names == ["round", "square"]
    for place, i in enumerate(order(masks.train, "train")):
        expected = np.array([[2 * j, j, 30, j + 9] for j in range(i)], float).reshape(-1, 4)
        labels = data.train.labels
        np.testing.assert_allclose(labels.boxes[place], expected, atol=1e-4)
        assert labels.classes[place].tolist() == [j % 2 for j in range(i)]
        assert labels.crowd[place].tolist() == [j == 0 for j in range(i)]
        assert labels.sizes[place].tolist() == list(SIZE)
    assert data.train.labels.most == 6


def test_data_without_masks_or_boxes(tmp_path, monkeypatch):
    class TinyBuilder(tfds.core.GeneratorBasedBuilder):
        """Pictures alone."""

        name = "pictures_alone"
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = tfds.features.FeaturesDict({"image": tfds.features.Image()})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            yield 0, {"image": picture("train", 0)}

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    TinyBuilder(data_dir=tmp_path).download_and_prepare()
    with pytest.raises(InputError, match="not images with one mask each"):
        load("tfds:pictures_alone", labels=MASKS)
    with pytest.raises(InputError, match="not images with objects of bbox and label"):
        load("tfds:pictures_alone", labels=BOXES)

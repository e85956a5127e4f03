"""TFDS: a small real data set is built on disk and read back record by record."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_vit.data import eval_dataset, load
from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

SPLITS = {"train": 20, "validation": 6, "test": 4, "extra": 3}


def picture(split: str, index: int) -> np.ndarray:
    return np.random.default_rng([len(split), index]).integers(0, 256, (12, 9, 3), np.uint8)


class ShapesBuilder(tfds.core.GeneratorBasedBuilder):
    """Random pictures of two classes; the config without_labels has -1 in test."""

    name = "shapes"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (tfds.core.BuilderConfig(name="plain"), tfds.core.BuilderConfig(name="without_labels"))

    def _info(self):
        features = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=["round", "square"])}
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=("image", "label")
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split, count) for split, count in SPLITS.items()}

    def _generate_examples(self, split, count):
        hidden = split == "test" and self.builder_config.name == "without_labels"
        for i in range(count):
            yield i, {"image": picture(split, i), "label": -1 if hidden else i % 2}


@pytest.fixture(params=["tfrecord", "array_record"])
def prepared(request, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for config in ("plain", "without_labels"):
        builder = ShapesBuilder(config=config, data_dir=tmp_path, file_format=request.param)
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=2))


def test_splits_labels_and_pixels(prepared):
    data = load("tfds:shapes:plain")
    assert data.class_names == ["round", "square"]
    assert {name: len(examples) for name, examples in data.splits.items()} == {"train": 20, "val": 6, "test": 4}
    assert "extra" in data.notes[0]
    record = Preprocessing((12, 9), crop=1.0)
    (images, labels), *_ = eval_dataset(data.test, record, num_classes=2, batch_size=4)
    expected = {picture("test", i).tobytes(): i % 2 for i in range(4)}
    found = {
        image.astype(np.uint8).tobytes(): int(label.argmax())
        for image, label in zip(images.numpy(), labels.numpy(), strict=True)
    }
    assert found == expected


def test_test_split_without_labels_is_left_out(prepared):
    data = load("tfds:shapes:without_labels")
    assert data.test is None
    assert any("no labels" in note for note in data.notes)


def test_raw_is_the_stored_file(prepared):
    data = load("tfds:shapes:plain")
    assert data.train.raw(0).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [("tfds:mnistt", "did you mean 'mnist'"), ("tfds:shapes:none", "cannot be opened|has no data set")],
)
def test_wrong_names(tmp_path, monkeypatch, spec, sentence):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(InputError, match=sentence):
        load(spec)


def test_data_without_images(tmp_path, monkeypatch):
    class TextBuilder(tfds.core.GeneratorBasedBuilder):
        """No images."""

        name = "sentences"
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict({"text": tfds.features.Text()})
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            yield 0, {"text": "words"}

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    TextBuilder(data_dir=tmp_path).download_and_prepare()
    with pytest.raises(InputError, match="not images with one class label"):
        load("tfds:sentences")

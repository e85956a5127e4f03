"""Features on disk: whole, without pickles, and refused where they are something else."""

from __future__ import annotations

import numpy as np
import pytest

from keras_vit.errors import InputError
from keras_vit.probing import Embedded

FEATURES = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
FILES = ["a/ants.jpg", "b/müller 1.png", "index 17"]


def test_there_and_back(tmp_path):
    path = tmp_path / "new" / "f.npz"
    Embedded(FEATURES, FILES, np.array([1, 0, 1]), ["ant", "bee"]).save(path)
    with np.load(path, allow_pickle=False) as archive:
        kinds = {name: archive[name].dtype.kind for name in archive.files}
        assert kinds == {"features": "f", "files": "U", "labels": "i", "class_names": "U"}
        assert archive["features"].dtype == np.float32
    back = Embedded.read(path)
    np.testing.assert_array_equal(back.features, FEATURES)
    np.testing.assert_array_equal(back.labels, [1, 0, 1])
    assert (back.files, back.class_names) == (FILES, ["ant", "bee"])
    assert [file.name for file in path.parent.iterdir()] == ["f.npz"]


def test_without_labels(tmp_path):
    Embedded(FEATURES, FILES).save(tmp_path / "f.npz")
    assert set(np.load(tmp_path / "f.npz", allow_pickle=False).files) == {"features", "files"}
    back = Embedded.read(tmp_path / "f.npz")
    assert (back.labels, back.class_names) == (None, None)


def test_wrong_places_get_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"ends otherwise: name it features\.npz"):
        Embedded(FEATURES, FILES).save(tmp_path / "features")
    with pytest.raises(InputError, match="cannot be written: choose a folder"):
        Embedded(FEATURES, FILES).save(tmp_path / "file" / "f.npz")


def test_other_files_get_one_sentence(tmp_path):
    path = tmp_path / "f.npz"
    with pytest.raises(InputError, match=r"no readable \.npz of plain arrays"):
        Embedded.read(path)
    path.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(InputError, match=r"no readable \.npz of plain arrays"):
        Embedded.read(path)
    np.savez(path, features=FEATURES, files=np.array(FILES, object))
    with pytest.raises(InputError, match=r"no readable \.npz of plain arrays"):
        Embedded.read(path)
    np.save(path.with_suffix(".npy"), FEATURES)
    path.with_suffix(".npy").rename(path)
    with pytest.raises(InputError, match=r"no readable \.npz of plain arrays"):
        Embedded.read(path)
    np.savez(path, features=FEATURES[0], files=FILES)
    with pytest.raises(InputError, match=r"holds features \(5,\), files \(3,\), not features"):
        Embedded.read(path)

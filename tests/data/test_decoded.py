"""Decoded images kept in memory or on the disk: the same batches, and nothing half written is ever used."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_vit.data import Augment, decode_all, decoded, load, train_dataset
from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing
from keras_vit.training.recipe import Recipe
from keras_vit.training.train import train


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The folder of caches, away from the user's own."""
    monkeypatch.setenv("KERAS_VIT_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "pixels"


@pytest.fixture
def examples(split_folders):
    return load(str(split_folders)).train


def batches(examples, pixels, channels=3, augment=None):
    record = Preprocessing((16, 24), (0.5,) * channels, (0.5,) * channels)
    dataset, _ = train_dataset(
        examples, record, augment or Augment(), num_classes=2, batch_size=4, seed=3, decoded=pixels
    )
    return np.stack([images for images, _ in dataset.take(4).as_numpy_iterator()])


@pytest.mark.parametrize(("where", "channels"), [("memory", 3), ("disk", 3), ("disk", 1)])
def test_the_batches_are_those_without_a_cache(examples, where, channels):
    pixels = decode_all(examples, channels, where)
    for augment in (Augment(), Augment(crop_scale=(1.0, 1.0))):
        plain = batches(examples, None, channels, augment)
        np.testing.assert_array_equal(batches(examples, pixels, channels, augment), plain)


def test_nothing_is_cached_where_nothing_is_asked_for_or_gained(examples):
    assert decode_all(examples, 3, "none") is None
    assert decode_all(load("digits").train, 1, "memory") is None


def test_the_disks_cache_is_used_again_and_keyed_by_what_is_in_it(examples, home):
    decode_all(examples, 3, "disk")
    (file,) = home.iterdir()
    written = file.stat().st_mtime_ns
    decode_all(examples, 3, "disk")
    assert file.stat().st_mtime_ns == written
    decode_all(examples, 1, "disk")
    decode_all(examples, 3, "disk", size=20)
    decode_all(examples.subset(range(len(examples))[::-1]), 3, "disk")
    assert len(list(home.iterdir())) == 4


@pytest.mark.parametrize("length", [0, 7, -1])
def test_a_cache_of_the_wrong_length_is_made_again(examples, home, length):
    plain = batches(examples, decode_all(examples, 3, "disk"))
    (file,) = home.iterdir()
    content = file.read_bytes()
    file.write_bytes(content[:length])
    np.testing.assert_array_equal(batches(examples, decode_all(examples, 3, "disk")), plain)
    assert file.read_bytes() == content


def test_the_shorter_side_is_shrunk_and_nothing_is_enlarged(examples):
    assert {tuple(shape) for shape in decode_all(examples, 3, "memory", size=15).shapes} == {(15, 20)}
    assert {tuple(shape) for shape in decode_all(examples, 3, "memory", size=64).shapes} == {(30, 40)}


@pytest.mark.parametrize(("where", "room"), [("memory", "_memory_room"), ("disk", "_disk_room")])
def test_what_does_not_fit_is_not_cached(examples, monkeypatch, capsys, where, room):
    needed = len(examples) * 40 * 30 * 3
    monkeypatch.setattr(decoded, room, lambda *_: needed - 1)
    assert decode_all(examples, 3, where) is None
    assert f"Images are not cached (data.cache={where}): " in capsys.readouterr().out
    monkeypatch.setattr(decoded, room, lambda *_: needed)
    assert decode_all(examples, 3, where) is not None


def test_a_full_disk_leaves_no_cache_and_no_part(examples, home, capsys):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        assert decode_all(examples, 3, "disk") is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "cannot be written" in capsys.readouterr().out
    assert list(home.iterdir()) == []


def test_a_killed_process_leaves_only_a_part(examples, home):
    # The images come slowly, so that the kill hits while they are written.
    script = f"""
import time, numpy as np
from pathlib import Path
from keras_vit.data import decoded
def images():
    while True:
        yield np.zeros((64, 64, 3), np.uint8)
        time.sleep(0.001)
decoded._write(Path({str(home / "some.pixels")!r}), images())
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while not any(part.stat().st_size for part in home.glob(".partial*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert [part.name.split("-")[-1] for part in home.iterdir()] == ["some.pixels"]
    assert not (home / "some.pixels").exists()
    decoded._remove_stale(home / "some.pixels")
    assert len(list(home.iterdir())) == 1  # it may be another process's, at work
    decoded._STALE_S, kept = -1.0, decoded._STALE_S
    decoded._remove_stale(home / "some.pixels")
    decoded._STALE_S = kept
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"data": {"cache": "ram"}}, "no data.cache 'ram'"),
        ({"data": {"cache_size": 64}}, "set data.cache to memory or disk"),
        ({"data": {"cache": "disk", "cache_size": 0}}, "at least 1 pixel, not 0"),
        ({"data": {"cache": "disk", "cache_size": 64}, "task": "detection"}, "for classification only"),
    ],
)
def test_wrong_settings(settings, told):
    with pytest.raises(InputError, match=told):
        train(Recipe.from_dict(settings))

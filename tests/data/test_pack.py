"""Packed data: the same data set in shards, and what is said when a shard is not what it was."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.cli.main import main
from keras_vit.data import load
from keras_vit.data.pack import pack
from keras_vit.errors import InputError


@pytest.fixture
def packed(split_folders, tmp_path):
    """The folder and its pack, in several shards."""
    return load(str(split_folders)), pack(load(str(split_folders)), tmp_path / "packed", shard_bytes=3000)


def test_round_trip(packed):
    data, folder = packed
    again = load(str(folder))
    assert again.fingerprint == data.fingerprint
    assert again.class_names == data.class_names
    assert len(list(folder.glob("train-*.tfrecord"))) > 1
    for split, examples in data.splits.items():
        np.testing.assert_array_equal(again.splits[split].labels, examples.labels)
        assert [again.splits[split].raw(i) for i in range(len(examples))] == [
            examples.raw(i) for i in range(len(examples))
        ]


def test_shards_are_tfrecords(packed):
    data, folder = packed
    records = tf.data.TFRecordDataset(sorted(map(str, folder.glob("train-*.tfrecord"))))
    examples = [tf.train.Example.FromString(record.numpy()).features.feature for record in records]
    assert [example["label"].int64_list.value[0] for example in examples] == data.train.labels.tolist()
    assert examples[1]["image"].bytes_list.value[0] == data.train.raw(1)


def test_carved_splits_are_kept(class_folders, tmp_path):
    data = load(str(class_folders), seed=3)
    assert load(str(pack(data, tmp_path / "packed"))).fingerprint == data.fingerprint


def test_damage_is_told(packed):
    _, folder = packed
    shard = folder / "train-00000.tfrecord"
    content = bytearray(shard.read_bytes())
    shard.write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"train-00000.tfrecord has .* bytes and not"):
        load(str(folder))
    content[200] ^= 255
    shard.write_bytes(content)
    with pytest.raises(InputError, match=r"1 image cannot be used: .*its record in train-00000.tfrecord is damaged"):
        load(str(folder))
    shard.unlink()
    with pytest.raises(InputError, match=r"train-00000.tfrecord is missing"):
        load(str(folder))
    (folder / "index.json").write_text(json.dumps({"format": "of tomorrow"}))
    with pytest.raises(InputError, match=r"index.json is damaged or of another version"):
        load(str(folder))


def test_what_cannot_be_packed(packed, tmp_path):
    data, folder = packed
    with pytest.raises(InputError, match="exists: choose a folder that does not"):
        pack(data, folder)
    with pytest.raises(InputError, match="array already"):
        pack(load("digits"), tmp_path / "digits")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        pack(data, tmp_path / "file" / "packed")
    assert not list(tmp_path.glob(".partial*"))


def test_command(split_folders, tmp_path, capsys):
    assert main(["data", "pack", str(split_folders), str(tmp_path / "out")]) == 0
    assert "22 images in 3 shard(s)" in capsys.readouterr().out
    assert main(["data", "info", str(tmp_path / "out")]) == 0
    assert load(str(split_folders)).fingerprint in capsys.readouterr().out
    assert main(["data", "pack", str(split_folders), str(tmp_path / "out")]) == 2


_PACK = """
import resource, signal, sys, time
from keras_vit.data import load
from keras_vit.data.examples import Examples
from keras_vit.data.pack import pack
from keras_vit.errors import InputError
data, out, how = load(sys.argv[1]), sys.argv[2], sys.argv[3]
if how == "full":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, resource.RLIM_INFINITY))
else:
    raw = Examples.raw
    Examples.raw = lambda self, index: (print("reading", flush=True), time.sleep(0.5), raw(self, index))[2]
try:
    pack(data, out)
except InputError as error:
    print(error)
"""


def test_a_full_disk_leaves_nothing(split_folders, tmp_path):
    target = tmp_path / "out" / "packed"
    done = subprocess.run(
        [sys.executable, "-c", _PACK, split_folders, target, "full"], capture_output=True, text=True, check=True
    )
    assert "packed cannot be written" in done.stdout
    assert list(target.parent.iterdir()) == []


def test_a_kill_leaves_no_pack_and_the_next_one_is_whole(split_folders, tmp_path):
    target = tmp_path / "out" / "packed"
    process = subprocess.Popen(
        [sys.executable, "-c", _PACK, split_folders, target, "slow"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "reading\n"
    process.kill()
    process.communicate()
    assert not target.exists()
    data = load(str(split_folders))
    assert load(str(pack(data, target))).fingerprint == data.fingerprint
    assert [path.name for path in target.parent.iterdir()] == ["packed"]

"""Files that were made to do harm: little memory, little time, nothing executed, and one sentence each."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import keras_vit
from keras_vit.errors import InputError
from keras_vit.weights.formats import open_checkpoint

SETTINGS = {"num_classes": 5, "image_size": 32, "depth": 1}

LIMITED = """
import io, contextlib, resource, sys, time
from pathlib import Path
import numpy as np
import keras_vit, keras_vit.weights
from keras_vit.errors import Failure, InputError

model = keras_vit.build("vit_mu16", num_classes=5, image_size=32, depth=1)
keras_vit.weights.load(model, sys.argv[1])  # everything is imported, all threads run
before = model.get_weights()
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 150 * 2**20, resource.RLIM_INFINITY))
for weights in sorted(Path(sys.argv[2]).iterdir()):
    start = time.perf_counter()
    for attempt in (lambda: keras_vit.weights.load(model, weights),
                    lambda: keras_vit.build("vit_mu16", num_classes=5, depth=1, weights=weights)):
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                attempt()
            sys.exit(f"{weights} was loaded")
        except (InputError, Failure) as error:
            assert str(error).isprintable() and len(str(error)) < 1000, error
    assert all((a == b).all() for a, b in zip(before, model.get_weights())), weights
    assert time.perf_counter() - start < 10, weights
print("all refused")
"""


def header(content: dict | bytes, behind: bytes = b"") -> bytes:
    """A safetensors file with this header."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return len(raw).to_bytes(8, "little") + raw + behind


def archive(compression: int = zipfile.ZIP_DEFLATED, **members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression, compresslevel=1) as writer:
        for name, content in members.items():
            writer.writestr(name.replace("__", "."), content)
    return file.getvalue()


def npy_header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue()


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.fixture(scope="module")
def intact(tmp_path_factory) -> Path:
    model = keras_vit.build("vit_mu16", **SETTINGS, seed=1)
    folder = tmp_path_factory.mktemp("intact")
    model.save(folder / "model.keras")
    return keras_vit.weights.save(model, folder / "timm")


def test_attacks_in_little_memory(intact, tmp_path):
    attacks = tmp_path / "attacks"
    attacks.mkdir()
    zeros = bytes(2**28)
    files = {
        "length.safetensors": (2**62).to_bytes(8, "little") + b"{}",
        "deep.safetensors": header(b"[" * 10**6),
        "wide.safetensors": header(b"[" + b"[]," * 3 * 10**6 + b"[]]"),
        "longer.safetensors": header(b"[" + b"[]," * 10**7 + b"[]]"),
        "many.safetensors": header({f"x{i}": entry([0], 0, 0) for i in range(50_000)}),
        "shape.safetensors": header({"pos_embed": entry([1, 10**12, 32], 0, 128 * 10**12)}),
        "nothing.safetensors": header({"patch_embed.proj.weight": entry([0, 10**30], 0, 0)}),
        "digits.safetensors": header(
            b'{"x": {"dtype": "F32", "shape": [' + b"9" * 5000 + b'], "data_offsets": [0, 4]}}'
        ),
        "bomb.npz": archive(x__npy=npy_header((2**26,)) + zeros),
        "header.npz": archive(x__npy=b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**28) + zeros),
        "shape.npz": archive(x__npy=npy_header((10**12, 10**12)) + bytes(1000)),
        "bomb.keras": archive(config__json=zeros, model__weights__h5=b""),
        "text.keras": archive(zipfile.ZIP_STORED, config__json=b"[" * 10**6, model__weights__h5=b"x"),
    }
    with zipfile.ZipFile(intact.parent / "model.keras") as model:
        members = {name.replace(".", "__"): model.read(name) for name in model.namelist()}
    for name, old, new in (("units", b'"units": 5', b'"units": 1000000000000'), ("grid", b"[2, 2]", b"[99999, 99999]")):
        assert old in members["config__json"]
        changed = {**members, "config__json": members["config__json"].replace(old, new)}
        files[f"{name}.keras"] = archive(zipfile.ZIP_STORED, **changed)
    for name, content in files.items():
        (attacks / name).write_bytes(content)
    arrays = load_file(intact / "model.safetensors")
    for name, file, content in (
        ("huge", "config.json", '{"image_size": 1000000000}'),
        ("deep", "config.json", '{"x":' * 10**6),
        ("wide", "preprocessor_config.json", '{"size": {"height": 1e400}, "image_mean": [0], "image_std": [1]}'),
    ):
        (attacks / name).mkdir()
        (attacks / name / file).write_text(content)
        save_file(arrays, attacks / name / "model.safetensors")
    program = [sys.executable, "-c", LIMITED, str(intact / "model.safetensors"), str(attacks)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("all refused\n")


def test_a_pipe_is_not_waited_for(tmp_path):
    for name in ("w.safetensors", "w.npz", "w.keras", "w.pth"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(InputError, match="There is no weights file"):
            open_checkpoint(tmp_path / name)
    (tmp_path / "folder").mkdir()
    for name in ("config.json", "model.safetensors", "model.safetensors.index.json"):
        os.mkfifo(tmp_path / "folder" / name)
    with pytest.raises(InputError, match=r"index\.json does not say"):
        open_checkpoint(tmp_path / "folder")


class TestNames:
    """What stands in a file may not reach a terminal as it is."""

    @pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "", "x" * 1000, "\u202ereversed"])
    def test_of_arrays(self, name, tmp_path):
        save_file({name: np.zeros(1)}, tmp_path / "w.safetensors")
        with pytest.raises(InputError) as caught:
            open_checkpoint(tmp_path / "w.safetensors")
        assert "is no name" in str(caught.value)
        assert str(caught.value).isprintable()

    def test_of_types_and_activations(self, intact, tmp_path):
        path = tmp_path / "w.safetensors"
        path.write_bytes(header({"x": entry([1], 0, 4, "F32\n\x1b[2J")}, bytes(4)))
        with pytest.raises(InputError) as caught:
            open_checkpoint(path)
        assert str(caught.value).isprintable()
        save_file(load_file(intact / "model.safetensors"), path, metadata={"activation": "\x1b[2J" * 1000})
        with pytest.raises(InputError) as caught:
            keras_vit.build("vit_mu16", **SETTINGS, weights=path)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500


class TestSafetensorsLayout:
    """The format wants arrays that fill the file one behind the other; its own library refuses others as well."""

    @pytest.mark.parametrize(
        ("entries", "size"),
        [
            ({"a": entry([1], 0, 4), "b": entry([1], 0, 4)}, 4),
            ({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, 12),
            ({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, 12),
            ({"a": entry([1], 0, 4)}, 8),
            ({"a": entry([1], 4, 8)}, 8),
            ({"a": entry([1], 0, 4)}, 3),
            ({"a": entry([1.0], 0, 4)}, 4),
            ({"a": entry([1], 0.0, 4.0)}, 4),
            ({"a": entry([1], 0, 4), "__metadata__": ["image_size"]}, 4),
            ({"a": entry([1], 0, 4), "__metadata__": {"image_size": 224}}, 4),
        ],
    )
    def test_refused_by_both(self, entries, size, tmp_path):
        from safetensors import SafetensorError

        (tmp_path / "w.safetensors").write_bytes(header(entries, bytes(size)))
        with pytest.raises(InputError, match="not a readable safetensors file"):
            open_checkpoint(tmp_path / "w.safetensors")
        with pytest.raises(SafetensorError):
            load_file(tmp_path / "w.safetensors")

    def test_any_order_and_empty_arrays(self, tmp_path):
        entries = {"b": entry([1], 4, 8), "none": entry([0, 7], 4, 4), "a": entry([1], 0, 4)}
        (tmp_path / "w.safetensors").write_bytes(header(entries, np.float32([1, 2]).tobytes()))
        checkpoint = open_checkpoint(tmp_path / "w.safetensors")
        assert [checkpoint.read(name).tolist() for name in ("a", "b", "none")] == [[1.0], [2.0], []]


@pytest.mark.parametrize(
    "record",
    [
        "{",
        "[1]",
        '"imagenet"',
        '{"mean": [0.5]}',
        '{"image_size": [32, 32], "mean": [NaN], "std": [1]}',
        '{"image_size": [32, 32], "mean": [0], "std": [0]}',
        '{"image_size": [99999, 32], "mean": [0], "std": [1]}',
        '{"image_size": [32, 32], "mean": [0], "std": [1], "gamma": 2}',
        '{"image_size": [32, 32], "mean": [0], "std": [1], "crop": "x"}',
    ],
)
def test_a_preprocessing_record_that_is_none(record, intact, tmp_path):
    save_file(load_file(intact / "model.safetensors"), tmp_path / "w.safetensors", metadata={"preprocessing": record})
    with pytest.raises(InputError, match="has a preprocessing record that cannot be used"):
        keras_vit.build("vit_mu16", **SETTINGS, weights=tmp_path / "w.safetensors")

"""Weights files are opened lazily, without executing anything in them, and what is wrong with one is one sentence."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from keras_vit.errors import InputError
from keras_vit.weights.formats import open_checkpoint

ARRAYS = {
    "a/kernel": np.arange(12, dtype="float32").reshape(3, 4),
    "a/half": np.arange(6, dtype="float16").reshape(2, 3),
    "a/brain": np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16),
    "a/columns": np.asfortranarray(np.arange(6, dtype="float32").reshape(2, 3)),
    "step": np.int32(7),
}


class Touch:
    """What an attacker pickles: unpickling it runs a command."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def read_all(path: Path) -> dict[str, np.ndarray]:
    checkpoint = open_checkpoint(path)
    return {name: checkpoint.read(name) for name in checkpoint.shapes}


def refuse(path: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_all(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for word in (path.name, *words):
        assert word in sentence, sentence


def header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    """The header of an `.npy` file that has nothing behind it."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def archive(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


class TestNpz:
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_arrays(self, save, tmp_path):
        save(tmp_path / "w.npz", **ARRAYS)
        checkpoint = open_checkpoint(tmp_path / "w.npz")
        assert checkpoint.shapes == {name: array.shape for name, array in ARRAYS.items()}
        for name, array in ARRAYS.items():
            assert checkpoint.read(name).dtype == array.dtype
            np.testing.assert_array_equal(checkpoint.read(name), array)

    def test_opening_reads_no_array(self, tmp_path):
        """A hole of 8 GB between the headers is never looked at."""
        path, rows = tmp_path / "w.npz", 2**31
        content = header((rows,))
        size = len(content) + 4 * rows
        local = struct.pack("<IHHHHHIIIHH", 0x04034B50, 45, 0, 0, 0, 0, 0, 2**32 - 1, 2**32 - 1, 5, 20)
        local += b"a.npy" + struct.pack("<HHQQ", 1, 16, size, size)
        fields = (0x02014B50, 45, 45, 0, 0, 0, 0, 0, 2**32 - 1, 2**32 - 1, 5, 20, 0, 0, 0, 0, 0)
        central = struct.pack("<IHHHHHHIIIHHHHHII", *fields) + b"a.npy" + struct.pack("<HHQQ", 1, 16, size, size)
        start = len(local) + size
        with path.open("wb") as file:
            file.write(local + content)
            file.seek(start)
            file.write(central)
            file.write(struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, 1, 1, len(central), start))
            file.write(struct.pack("<IIQI", 0x07064B50, 0, start + len(central), 1))
            file.write(struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, len(central), 2**32 - 1, 0))
        assert open_checkpoint(path).shapes == {"a": (rows,)}

    def test_pickled_objects(self, tmp_path):
        touched = tmp_path / "touched"
        np.savez(tmp_path / "w.npz", fine=np.zeros(3), evil=np.array([Touch(touched)], dtype=object))
        refuse(tmp_path / "w.npz", "evil holds Python objects, which are never unpickled")
        assert not touched.exists()

    def test_pickle_that_is_called_an_array(self, tmp_path):
        touched = tmp_path / "touched"
        refuse(archive(tmp_path / "w.npz", {"a.npy": pickle.dumps(Touch(touched))}), "magic string is not correct")
        assert not touched.exists()

    @pytest.mark.parametrize("name", ["../x.npy", "/etc/x.npy", "a/../../x.npy", "..\\x.npy"])
    def test_names_that_point_out_of_the_archive(self, name, tmp_path):
        refuse(archive(tmp_path / "w.npz", {name: header((0,))}), "points out of the archive")
        assert [path.name for path in tmp_path.iterdir()] == ["w.npz"]

    def test_something_else_than_arrays(self, tmp_path):
        refuse(archive(tmp_path / "w.npz", {"run.py": b"import os"}), "'run.py' is not an array")
        np.savez(tmp_path / "w.npz", names=np.array(["left", "right"]))
        refuse(tmp_path / "w.npz", "names has the type <U5")

    @pytest.mark.parametrize("shape", [(10**6, 10**6), (3, 3), (-2, -3), (1,)])
    def test_headers_that_lie(self, shape, tmp_path):
        content = header(shape) + bytes(24)
        refuse(archive(tmp_path / "w.npz", {"a.npy": content}), f"a is said to have the shape {shape}")

    def test_bomb(self, tmp_path):
        """A directory that says that some bytes become 4 GB."""
        path = archive(tmp_path / "w.npz", {"a.npy": header((10**9,)) + bytes(1000)}, zipfile.ZIP_DEFLATED)
        content = path.read_bytes()
        told = struct.pack("<I", len(header((10**9,))) + 1000)
        assert content.count(told) == 2
        path.write_bytes(content.replace(told, struct.pack("<I", len(header((10**9,))) + 4 * 10**9)))
        refuse(path, "does not lie within the file")

    def test_damage(self, tmp_path):
        np.savez(tmp_path / "w.npz", **ARRAYS)
        content = (tmp_path / "w.npz").read_bytes()
        for broken in (b"", b"hello", content[:-40], content[: len(content) // 2]):
            (tmp_path / "w.npz").write_bytes(broken)
            refuse(tmp_path / "w.npz", "is not a readable .npz file")

    def test_damage_in_an_array_is_found_when_it_is_read(self, tmp_path):
        np.savez(tmp_path / "w.npz", **ARRAYS, last=np.zeros(10**5))
        content = bytearray((tmp_path / "w.npz").read_bytes())
        content[-(10**5)] ^= 1
        (tmp_path / "w.npz").write_bytes(content)
        refuse(tmp_path / "w.npz", "Bad CRC-32 for file 'last.npy'")

    def test_every_single_broken_byte(self, tmp_path):
        """Whatever is damaged, it is one sentence, or the arrays are what they were."""
        np.savez_compressed(tmp_path / "w.npz", **{name: ARRAYS[name] for name in ("a/kernel", "step")})
        content = (tmp_path / "w.npz").read_bytes()
        path = tmp_path / "broken.npz"
        for position in range(len(content)):
            path.write_bytes(content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :])
            try:
                read = read_all(path)
            except InputError:
                continue
            for name in read.keys() & ARRAYS.keys():
                np.testing.assert_array_equal(read[name], ARRAYS[name])


class TestTorch:
    @pytest.fixture(autouse=True)
    def _torch(self):
        pytest.importorskip("torch", reason="needs torch, which the test extra installs")

    @pytest.fixture
    def state(self):
        import torch

        return {
            "a.weight": torch.arange(12.0).reshape(3, 4),
            "a.half": torch.arange(3, dtype=torch.float16),
            "a.brain": torch.arange(3, dtype=torch.bfloat16),
            "a.turned": torch.nn.Parameter(torch.arange(6.0).reshape(2, 3).T),
            "steps": torch.tensor(3),
        }

    @pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin"])
    @pytest.mark.parametrize("zipped", [True, False])
    def test_arrays(self, name, zipped, state, tmp_path):
        import torch

        torch.save(state, tmp_path / name, _use_new_zipfile_serialization=zipped)
        checkpoint = open_checkpoint(tmp_path / name)
        assert checkpoint.shapes == {name: tuple(tensor.shape) for name, tensor in state.items()}
        assert checkpoint.read("a.half").dtype == np.float16
        assert checkpoint.read("a.brain").dtype == ml_dtypes.bfloat16
        for each, tensor in state.items():
            np.testing.assert_array_equal(checkpoint.read(each).astype("float32"), tensor.detach().float().numpy())

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda good, bad: {"model": good},
            lambda good, bad: {"model": bad, "model_ema": good, "optimizer": {"state": bad}, "epoch": 3},
            lambda good, bad: {"module": {"state_dict": good}},
            lambda good, bad: {"student": bad, "teacher": good, "args": argparse.Namespace(lr=0.1, arch="vit")},
            lambda good, bad: {"encoder": good, "predictor": bad, "target_encoder": bad},
            lambda good, bad: {**good, "epoch": 3, "name": "mae", "sizes": [1, 2], 5: next(iter(bad.values()))},
        ],
    )
    def test_weights_beside_other_things(self, wrap, state, tmp_path):
        import torch

        torch.save(wrap(state, {"bad": torch.zeros(1)}), tmp_path / "w.pth")
        assert open_checkpoint(tmp_path / "w.pth").shapes.keys() == state.keys()

    @pytest.mark.parametrize("kind", ["zip", "legacy", "bare pickle"])
    def test_malicious_pickle(self, kind, state, tmp_path):
        import torch

        path, touched = tmp_path / "w.bin", tmp_path / "touched"
        evil = {**state, "args": Touch(touched)}
        if kind == "bare pickle":
            path.write_bytes(pickle.dumps(Touch(touched), protocol=2))
        else:
            torch.save(evil, path, _use_new_zipfile_serialization=kind == "zip")
        refuse(path, "is not a readable PyTorch file of arrays", "posix.system, and nothing in it is executed")
        assert not touched.exists()
        torch.load(path, weights_only=False) if kind != "bare pickle" else pickle.loads(path.read_bytes())
        assert touched.exists(), "the file would not have done anything"

    def test_namespace_is_only_data(self, tmp_path):
        import torch

        touched = tmp_path / "touched"
        torch.save({"args": argparse.Namespace(hook=Touch(touched))}, tmp_path / "w.pth")
        refuse(tmp_path / "w.pth", "posix.system, and nothing in it is executed")
        assert not touched.exists()

    def test_whole_models_and_programs(self, tmp_path):
        import torch

        torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
        refuse(tmp_path / "w.pth", "torch.nn.modules.linear.Linear, and nothing in it is executed", ".safetensors")
        torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "w.pt")
        refuse(tmp_path / "w.pt", "TorchScript", ".safetensors")

    def test_no_arrays(self, tmp_path):
        import torch

        endless = {}
        endless["model"] = endless
        for content in ({"epoch": 3}, [torch.zeros(2)], torch.zeros(2), endless):
            torch.save(content, tmp_path / "w.pth")
            refuse(tmp_path / "w.pth", "holds no named arrays")

    def test_arrays_that_are_none(self, tmp_path):
        import torch

        torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "w.pth")
        refuse(tmp_path / "w.pth", "a is said to have the shape (1000000, 1000000)")
        torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "w.pth")
        refuse(tmp_path / "w.pth", "is not a readable PyTorch file of arrays")

    @pytest.mark.parametrize("zipped", [True, False])
    def test_damage(self, zipped, state, tmp_path):
        import torch

        torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
        content = (tmp_path / "w.pth").read_bytes()
        for broken in (b"", b"hello", b"\x80\x02.", content[:-100], content[: len(content) // 2], content[:60]):
            (tmp_path / "w.pth").write_bytes(broken)
            refuse(tmp_path / "w.pth", "is not a readable PyTorch file of arrays")

    def test_old_torch(self, state, tmp_path, monkeypatch):
        import torch

        torch.save(state, tmp_path / "w.pth")
        monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
        refuse(tmp_path / "w.pth", "PyTorch 2.5.1+cpu can be made to execute code", "pip install 'torch>=2.6'")


class TestWithoutTorch:
    PROGRAM = """
import sys
from pathlib import Path

class NoTorch:
    def find_spec(self, name, *_):
        if name == "torch":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoTorch())
from keras_vit.errors import InputError
from keras_vit.weights.formats import open_checkpoint
try:
    open_checkpoint(Path(sys.argv[1]))
except InputError as error:
    print(error)
"""

    def test_the_sentence_and_what_it_advises(self, tmp_path):
        torch = pytest.importorskip("torch", reason="needs torch, which the test extra installs")
        tied = torch.arange(4.0)
        torch.save({"model": {"a": tied, "b": tied}, "epoch": 3}, tmp_path / "deit.pth")
        run = [sys.executable, "-c", self.PROGRAM, "deit.pth"]
        said = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert said.count("\n") == 1
        assert "Reading deit.pth needs PyTorch: pip install torch" in said
        advice = re.search(r'python -c "(.*)"', said)[1]
        subprocess.run([sys.executable, "-c", advice], cwd=tmp_path, check=True)
        assert open_checkpoint(tmp_path / "deit.safetensors").shapes == {"a": (4,), "b": (4,)}


def test_formats_are_known_by_their_ending(tmp_path):
    (tmp_path / "w.h5").write_bytes(b"")
    refuse(tmp_path / "w.h5", ".safetensors, .keras, .npz, .pth, .pt, .bin")

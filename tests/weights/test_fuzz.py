"""Damaged files of every kind: each loads, or is refused in one sentence and leaves the model as it was."""

from __future__ import annotations

import copy
import io
import json
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import keras_vit
from keras_vit.errors import Failure, InputError

SETTINGS = {"num_classes": 5, "image_size": 32, "depth": 1}


def flip(content: bytearray, rng: random.Random) -> None:
    """Some bytes become others."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        content[_place(content, rng)] = rng.randrange(256)


def cut_off(content: bytearray, rng: random.Random) -> None:
    """The end is missing."""
    del content[_place(content, rng) :]


def cut_out(content: bytearray, rng: random.Random) -> None:
    """A part is missing."""
    start = _place(content, rng)
    del content[start : start + rng.randrange(1, 100)]


def double(content: bytearray, rng: random.Random) -> None:
    """A part stands there twice."""
    start = _place(content, rng)
    content[start:start] = content[start : start + rng.randrange(1, 200)]


def exchange(content: bytearray, rng: random.Random) -> None:
    """Two parts of one length are exchanged."""
    first, second = sorted((_place(content, rng), _place(content, rng)))
    length = min(rng.randrange(1, 100), second - first, len(content) - second)
    one, other = content[first : first + length], content[second : second + length]
    content[first : first + length], content[second : second + length] = other, one


def blank(content: bytearray, rng: random.Random) -> None:
    """A part is zero, as a hole in a file is."""
    start = _place(content, rng)
    length = min(rng.randrange(1, 600), len(content) - start)
    content[start : start + length] = bytes(length)


ODD_VALUES = (
    *(
        None,
        True,
        -1,
        0,
        1,
        3,
        1.5,
        10**6,
        10**12,
        10**400,
        float("nan"),
        float("inf"),
        "",
        "x",
        "\x1b[2J\n",
        "9" * 5000,
    ),
    *([], {}, [None], [1, 2, 3], [[]], {"class_name": "Lambda"}, "../x", "model.safetensors", "gelu_tanh", "F16"),
)
"""What nobody writes in earnest, or writes elsewhere."""


def with_odd_values(content: dict, rng: random.Random) -> dict:
    """JSON in which a value or two are others, are missing, or are called otherwise."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 2))):
        places = [(holder, key) for holder in _holders(content) for key in _keys(holder)]
        if not places:
            break
        holder, key = rng.choice(places)
        if isinstance(holder, dict) and rng.random() < 0.2:
            holder[rng.choice(("", "x", "\n", "architecture", "__metadata__"))] = holder.pop(key)
        elif rng.random() < 0.1:
            del holder[key]
        else:
            holder[key] = copy.deepcopy(rng.choice(ODD_VALUES))
    return content


def _holders(content):
    if isinstance(content, (dict, list)):
        yield content
        for each in content.values() if isinstance(content, dict) else content:
            yield from _holders(each)


def _keys(holder) -> list:
    return list(holder) if isinstance(holder, dict) else list(range(len(holder)))


DAMAGE = (flip, flip, flip, cut_off, cut_out, double, exchange, blank)


def _place(content: bytearray, rng: random.Random) -> int:
    """Mostly near one of the ends, where headers and directories are."""
    near = rng.choice((300, 3000, len(content)))
    place = rng.randrange(min(near, len(content)))
    return place if rng.random() < 0.7 else len(content) - 1 - place


@pytest.fixture(scope="module")
def model():
    return keras_vit.build("vit_mu16", **SETTINGS, seed=1)


@pytest.fixture(scope="module")
def intact(tmp_path_factory) -> Path:
    """A folder with the same weights in every form."""
    folder = tmp_path_factory.mktemp("intact")
    source = keras_vit.build("vit_mu16", **SETTINGS, seed=2)
    for dialect in ("timm", "huggingface"):
        keras_vit.weights.save(source, folder / dialect, dialect=dialect)
    arrays = load_file(folder / "timm" / "model.safetensors")
    np.savez(folder / "stored.npz", **arrays)
    np.savez_compressed(folder / "deflated.npz", **arrays)
    source.save(folder / "model.keras")
    sharded = shutil.copytree(folder / "timm", folder / "sharded")
    (sharded / "model.safetensors").unlink()
    save_file(arrays, sharded / "model-00001-of-00001.safetensors")
    places = ", ".join(f'"{name}": "model-00001-of-00001.safetensors"' for name in arrays)
    (sharded / "model.safetensors.index.json").write_text(f'{{"weight_map": {{{places}}}}}')
    return folder


@pytest.fixture
def survive(model, intact, tmp_path) -> Callable[[str, int, Callable], int]:
    """Damages one file below `intact` many times; counts what was refused."""
    before = model.get_weights()

    def survive(name: str, cases: int, damage: Callable[[bytes, random.Random], bytes]) -> int:
        content, refused = (intact / name).read_bytes(), 0
        file = tmp_path / name
        weights = file.parent if "/" in name else file
        if "/" in name:
            shutil.copytree(intact / Path(name).parent, file.parent)
        present = {*tmp_path.rglob("*"), file}
        for seed in range(cases):
            file.write_bytes(damage(content, random.Random(f"{name} {seed}")))
            try:
                keras_vit.weights.load(model, weights)
                sentence = None
            except (InputError, Failure) as error:
                sentence = str(error)
            after = model.get_weights()
            if sentence is None:
                assert all(np.isfinite(array).all() for array in after), seed
                model.set_weights(before)
            else:
                refused += 1
                assert sentence.isprintable(), (seed, sentence)
                assert len(sentence) < 1000, (seed, sentence)
                assert all((a == b).all() for a, b in zip(before, after, strict=True)), seed
            assert present == set(tmp_path.rglob("*")), seed
        return refused

    return survive


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Bytes as an accident leaves them."""
    content = bytearray(content)
    rng.choice(DAMAGE)(content, rng)
    return bytes(content)


@pytest.mark.parametrize(
    ("name", "cases", "at_least"),
    [
        ("timm/model.safetensors", 160, 60),
        ("stored.npz", 60, 50),
        ("deflated.npz", 40, 30),
        ("model.keras", 60, 55),
        ("timm/config.json", 60, 30),
        ("huggingface/config.json", 60, 30),
        ("huggingface/preprocessor_config.json", 60, 30),
        ("sharded/model.safetensors.index.json", 60, 30),
        ("sharded/model-00001-of-00001.safetensors", 40, 15),
    ],
)
def test_damaged(name, cases, at_least, survive, capsys):
    """Damage within an array of safetensors cannot be noticed; all others have checksums, or are text."""
    assert survive(name, cases, damaged) >= at_least


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_torch_file(zipped, survive, intact, capsys):
    torch = pytest.importorskip("torch", reason="needs torch, which the test extra installs")
    arrays = load_file(intact / "timm" / "model.safetensors")
    name = f"zipped_{zipped}.pth"
    state = {name: torch.tensor(array) for name, array in arrays.items()}
    torch.save(state, intact / name, _use_new_zipfile_serialization=zipped)
    assert survive(name, 80, damaged) >= 30


def odd_json(content: bytes, rng: random.Random) -> bytes:
    return json.dumps(with_odd_values(json.loads(content), rng)).encode()


def odd_header(content: bytes, rng: random.Random) -> bytes:
    """The header of safetensors with odd values, and the arrays behind it as they were."""
    length = int.from_bytes(content[:8], "little")
    header = odd_json(content[8 : 8 + length], rng)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def odd_configuration(content: bytes, rng: random.Random) -> bytes:
    """A `.keras` archive with odd values in its configuration, and right checksums."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = odd_json(members["config.json"], rng)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "cases", "damage"),
    [
        ("timm/model.safetensors", 120, odd_header),
        ("model.keras", 40, odd_configuration),
        ("timm/config.json", 80, odd_json),
        ("huggingface/config.json", 80, odd_json),
        ("huggingface/preprocessor_config.json", 80, odd_json),
        ("sharded/model.safetensors.index.json", 60, odd_json),
    ],
)
def test_odd_values(name, cases, damage, survive, capsys):
    assert survive(name, cases, damage) >= cases // 8

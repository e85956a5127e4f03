"""Checkpoints as files: what is damaged is never loaded, and what was there before stays."""

from __future__ import annotations

import json
import resource

import numpy as np
import pytest

from keras_vit.errors import InputError
from keras_vit.training.checkpoints import Checkpoints, State, last_state


def arrays(value: float) -> dict[str, np.ndarray]:
    return {
        "weights/0000/kernel": np.full((20, 30), value, np.float32),
        "generators/0000/state": np.array([1, 2**32 - 1], np.uint32),
        "optimizer/0000/iteration": np.array(7, np.int32),
        "optimizer/0001/dynamic": np.array(True),
        "optimizer/0002/turned": np.arange(6, dtype=np.float16).reshape(2, 3).T,
        "optimizer/0003/none": np.zeros((0, 3), np.float64),
    }


@pytest.fixture
def checkpoints(tmp_path) -> Checkpoints:
    """Of a run that has written three and keeps two: the end of epoch 1, and step 5 of the next."""
    made = Checkpoints(tmp_path / "run" / "checkpoints", keep=2)
    made.write(State(), arrays(0))
    made.write(State(epoch=1, best=0.5, best_epoch=1, history={"loss": [0.1]}), arrays(1))
    made.write(State(epoch=1, step=5, best=0.5, best_epoch=1, history={"loss": [0.1]}), arrays(2))
    return made


NEWEST, BEFORE = "epoch-0001-step-000005", "epoch-0001-step-000000"


def test_everything_comes_back_and_only_the_newest_stay(checkpoints):
    state, found = checkpoints.newest()
    assert state == State(epoch=1, step=5, best=0.5, best_epoch=1, history={"loss": [0.1]})
    for name, array in arrays(2).items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    names = sorted(path.name for path in checkpoints.folder.iterdir())
    assert names == [f"{name}.{ending}" for name in (BEFORE, NEWEST) for ending in ("json", "safetensors")]


def damages(content: bytes):
    """A bit flipped at 40 places, the file cut at 10, and empty."""
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 40):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        yield bytes(flipped)
    for length in rng.integers(0, len(content), 10):
        yield content[:length]
    yield b""


@pytest.mark.parametrize("ending", ["json", "safetensors"])
def test_a_damaged_one_is_named_and_the_one_before_is_used(checkpoints, ending, capsys):
    pair = {e: checkpoints.folder / f"{NEWEST}.{e}" for e in ("json", "safetensors")}
    whole = {e: path.read_bytes() for e, path in pair.items()}
    for content in damages(whole[ending]):
        for e, path in pair.items():
            path.write_bytes(content if e == ending else whole[e])
        state, found = checkpoints.newest()
        said = capsys.readouterr().out.splitlines()
        if state.step == 5:
            # Only white space of the record was hit: nothing that it says has changed.
            assert ending == "json"
            assert json.loads(content) == json.loads(whole["json"])
            continue
        assert (state.epoch, state.step) == (1, 0)
        assert found["weights/0000/kernel"][0, 0] == 1
        assert len(said) == 1
        assert f"{NEWEST} is damaged" in said[0]
        assert not pair["json"].exists(), "a damaged one would push the good ones out"


def test_weights_that_are_gone(checkpoints):
    (checkpoints.folder / f"{NEWEST}.safetensors").unlink()
    assert checkpoints.newest()[0].step == 0


def test_none_that_is_whole_is_an_error_and_none_at_all_is_not(checkpoints, tmp_path):
    for path in checkpoints.folder.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"Every checkpoint in .* is damaged"):
        checkpoints.newest()
    assert len(list(checkpoints.folder.glob("*.json"))) == 2, "nothing is removed then"
    assert Checkpoints(tmp_path / "nothing").newest() is None


def test_what_a_killed_process_left_is_removed(checkpoints):
    run = checkpoints.folder.parent
    left = [run / ".partial-17-model.keras", checkpoints.folder / ".partial-17-epoch-0001-step-000006.safetensors"]
    left.append(checkpoints.folder / "epoch-0001-step-000006.safetensors")
    for path in left:
        path.write_bytes(b"half")
    checkpoints.clear()
    assert not any(path.exists() for path in left)
    assert checkpoints.newest()[0].step == 5


def test_a_full_disk_leaves_the_checkpoints_before(checkpoints):
    before = {path: path.read_bytes() for path in checkpoints.folder.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(InputError, match=r"epoch-0001-step-000006\.safetensors cannot be written") as caught:
            checkpoints.write(State(epoch=1, step=6), {"weights/0000/kernel": np.zeros(100_000, np.float32)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "free space" in str(caught.value)
    assert {path: path.read_bytes() for path in checkpoints.folder.iterdir()} == before


def test_a_rewritten_state_keeps_its_arrays(checkpoints):
    state, _ = checkpoints.newest()
    state.diverged = [[2, 8]]
    checkpoints.rewrite(state)
    found, given = checkpoints.newest()
    assert found == state == last_state(checkpoints.folder)
    assert given["weights/0000/kernel"][0, 0] == 2

"""Weights from a Hugging Face repository, through the real huggingface_hub and a small Hub on 127.0.0.1."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_server import CONTENT, OTHER, files
from fake_hub import Hub, hub

from keras_vit.errors import Failure, InputError
from keras_vit.weights.fetch import fetch
from keras_vit.weights.hub import choose, repository

pytestmark = pytest.mark.usefixtures("home")

CONFIG = b'{"model_type": "vit"}'
TIMM = {
    ".gitattributes": b"*",
    "README.md": b"# model",
    "config.json": CONFIG,
    "model.safetensors": CONTENT,
    "open_clip_model.safetensors": OTHER,
    "pytorch_model.bin": OTHER,
}


@pytest.fixture
def the_hub(monkeypatch):
    """A Hub with one timm repository, to which HF_ENDPOINT points."""
    site = Hub({"timm/vit": TIMM})
    with hub(site) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield site


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestChoice:
    @pytest.mark.parametrize(
        ("names", "chosen"),
        [
            (TIMM, ["config.json", "model.safetensors"]),
            (
                [
                    "model-00002-of-00002.safetensors",
                    "model-00001-of-00002.safetensors",
                    "model.safetensors.index.json",
                ],
                [
                    "model-00001-of-00002.safetensors",
                    "model-00002-of-00002.safetensors",
                    "model.safetensors.index.json",
                ],
            ),
            (["a.safetensors", "b.npz", "config.json", "pytorch_model.bin"], ["config.json", "a.safetensors", "b.npz"]),
            (
                ["pytorch_model.bin", "preprocessor_config.json", "tf_model.h5", "x.bin"],
                ["preprocessor_config.json", "pytorch_model.bin"],
            ),
            (["dinov3.pth"], ["dinov3.pth"]),
            (["config.json", "tf_model.h5", "checkpoint-5/model.safetensors"], []),
        ],
    )
    def test_one_form_of_the_weights(self, names, chosen):
        assert choose(names) == chosen

    @pytest.mark.parametrize(
        ("source", "parsed"),
        [
            ("hf:timm/vit_b.x-1", ("timm/vit_b.x-1", None)),
            ("hf:timm/vit@v1.0", ("timm/vit", "v1.0")),
            ("hf:timm/vit@refs/pr/3", ("timm/vit", "refs/pr/3")),
        ],
    )
    def test_source(self, source, parsed):
        assert repository(source) == parsed

    @pytest.mark.parametrize(
        "source", ["hf:", "hf:vit", "hf:a/b/c", "hf:../b", "hf:a/b@", "hf:a/b@../../x", "hf://a/b"]
    )
    def test_no_source(self, source):
        with pytest.raises(InputError, match="write hf:owner/name"):
            fetch(source)

    def test_a_name_that_the_hub_would_not_take(self):
        with pytest.raises(InputError, match="cannot be the name"):
            fetch("hf:-a/b-")


class TestHub:
    def test_fetched_once(self, the_hub, home, capsys):
        folder = fetch("hf:timm/vit")
        assert contents(folder) == {"config.json": CONFIG, "model.safetensors": CONTENT}
        assert home in folder.parents
        assert str(folder) in capsys.readouterr().out
        assert fetch("hf:timm/vit") == folder
        assert sorted(the_hub.downloads()) == ["config.json", "model.safetensors"]
        assert capsys.readouterr().out == ""

    def test_revision(self, the_hub):
        the_hub.revisions["v1"] = "b" * 40
        assert fetch("hf:timm/vit@v1").name == "b" * 40
        asked = len(the_hub.requests)
        assert fetch(f"hf:timm/vit@{'b' * 40}").name == "b" * 40
        assert len(the_hub.requests) == asked

    def test_a_branch_that_moved(self, the_hub):
        fetch("hf:timm/vit")
        the_hub.revisions["main"] = "c" * 40
        the_hub.repos["timm/vit"] = TIMM | {"model.safetensors": OTHER}
        assert contents(fetch("hf:timm/vit"))["model.safetensors"] == OTHER

    def test_shards(self, the_hub, monkeypatch):
        names = [f"model-{i:05d}-of-00002.safetensors" for i in (1, 2)]
        the_hub.repos["big/vit"] = {"model.safetensors.index.json": b"{}", names[0]: CONTENT, names[1]: OTHER}
        folder = fetch("hf:big/vit")
        assert sorted(contents(folder)) == [*names, "model.safetensors.index.json"]
        monkeypatch.setenv("KERAS_VIT_OFFLINE", "1")
        assert fetch("hf:big/vit") == folder
        (folder / names[1]).unlink()
        with pytest.raises(InputError, match="not complete in the cache"):
            fetch("hf:big/vit")

    def test_breaks_off_and_resumes(self, the_hub):
        the_hub.breaks["model.safetensors"] = 1
        assert contents(fetch("hf:timm/vit"))["model.safetensors"] == CONTENT
        assert the_hub.downloads().count("model.safetensors") == 2

    def test_download_fails(self, the_hub):
        the_hub.down["model.safetensors"] = 500
        with pytest.raises(Failure, match=r"timm/vit could not be fetched .*500.* call again"):
            fetch("hf:timm/vit")
        the_hub.down.clear()
        assert contents(fetch("hf:timm/vit"))["model.safetensors"] == CONTENT

    def test_damaged_in_the_cache(self, the_hub, capsys):
        folder = fetch("hf:timm/vit")
        (folder / "model.safetensors").resolve().write_bytes(CONTENT[:10])
        assert contents(fetch("hf:timm/vit"))["model.safetensors"] == CONTENT
        assert "damaged" in capsys.readouterr().out

    def test_no_repository(self, the_hub):
        with pytest.raises(InputError, match=r"There is no repository .*timm/vjt"):
            fetch("hf:timm/vjt")

    def test_no_revision(self, the_hub):
        with pytest.raises(InputError, match="timm/vit has no revision 'v9'"):
            fetch("hf:timm/vit@v9")

    @pytest.mark.parametrize("token", [None, "hf_wrong"])
    def test_gated(self, the_hub, monkeypatch, token):
        the_hub.gated = ("timm/vit",)
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(InputError, match=r"accept it at .*/timm/vit and set HF_TOKEN"):
            fetch("hf:timm/vit")
        monkeypatch.setenv("HF_TOKEN", the_hub.token)
        assert "model.safetensors" in contents(fetch("hf:timm/vit"))

    def test_no_weights(self, the_hub):
        the_hub.repos["timm/none"] = {"README.md": b"", "tf_model.h5": b""}
        with pytest.raises(InputError, match=r"no weights in a form that is read .*it holds README.md, tf_model.h5"):
            fetch("hf:timm/none")

    def test_cannot_be_reached(self, the_hub, monkeypatch, capsys):
        folder = fetch("hf:timm/vit")
        with files() as site:
            monkeypatch.setenv("HF_ENDPOINT", site.address)
        assert fetch("hf:timm/vit") == folder
        assert "as it was fetched before" in capsys.readouterr().out
        with pytest.raises(Failure, match="check the connection and HF_ENDPOINT"):
            fetch("hf:timm/another")

    @pytest.mark.parametrize("variable", ["KERAS_VIT_OFFLINE", "HF_HUB_OFFLINE"])
    def test_offline(self, the_hub, monkeypatch, variable):
        monkeypatch.setenv(variable, "1")
        with pytest.raises(InputError, match=f"timm/vit is not complete in the cache and {variable} forbids"):
            fetch("hf:timm/vit")
        assert the_hub.requests == []
        monkeypatch.delenv(variable)
        folder = fetch("hf:timm/vit")
        asked = len(the_hub.requests)
        monkeypatch.setenv(variable, "1")
        assert fetch("hf:timm/vit") == folder
        with pytest.raises(InputError, match="in the revision v1"):
            fetch("hf:timm/vit@v1")
        assert len(the_hub.requests) == asked

    def test_no_space(self, the_hub, monkeypatch):
        class Huge(bytes):
            def __len__(self):
                return 10**18

        the_hub.repos["timm/huge"] = {"model.safetensors": Huge(b"x")}
        with pytest.raises(InputError, match="free some space"):
            fetch("hf:timm/huge")
        assert the_hub.downloads() == []

"""Weights from paths and URLs: what is accepted, where it lies, and what is said when it fails."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from bad_server import CONTENT, GOOD, OTHER, Answer, files

from keras_vit.errors import Failure, InputError
from keras_vit.weights.cache import Entry, cache_folder, file_name, offline
from keras_vit.weights.download import split_checksum
from keras_vit.weights.fetch import fetch

pytestmark = pytest.mark.usefixtures("home")
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class TestPath:
    def test_file_and_folder(self, tmp_path):
        (tmp_path / "w.npz").touch()
        assert fetch(tmp_path / "w.npz") == tmp_path / "w.npz"
        assert fetch(str(tmp_path)) == tmp_path

    def test_home_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "w.npz").touch()
        assert fetch("~/w.npz") == tmp_path / "w.npz"

    @pytest.mark.parametrize("source", ["nowhere/w.npz", "s3://bucket/w.npz", "owner/name", "~nobody-here/w.npz"])
    def test_missing(self, source):
        with pytest.raises(InputError, match=r"give (a path that exists, a URL|the path in full)"):
            fetch(source)

    @pytest.mark.parametrize("source", ["", None, 3])
    def test_no_path_at_all(self, source):
        with pytest.raises(InputError, match="Weights come from a path"):
            fetch(source)


class TestCacheLayout:
    def test_folder(self, monkeypatch, home):
        assert cache_folder() == home
        monkeypatch.delenv("KERAS_VIT_HOME")
        monkeypatch.setenv("HOME", "/home/somebody")
        assert cache_folder() == Path("/home/somebody/.cache/keras_vit")

    @pytest.mark.parametrize(
        ("path", "name"),
        [
            ("/a/model.safetensors?download=true", "model.safetensors"),
            ("/a/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "passwd"),
            ("/a/%252e%252e%252fx", "_2e_2e_2fx"),
            ("/a/..", "download"),
            ("/a/%2e%2e", "download"),
            ("/a/..%5c..%5cx.npz", "x.npz"),
            ("/.bashrc", "bashrc"),
            ("/w%00%0a.npz", "w__.npz"),
            ("", "download"),
            ("/" + "n" * 300 + ".npz", "n" * 96 + ".npz"),
        ],
    )
    def test_file_name_is_harmless(self, path, name, home):
        assert file_name("https://host" + path) == name
        assert Entry.of("https://host" + path).file.parent.parent == home / "urls"

    def test_same_name_from_two_urls(self):
        assert Entry.of("https://a/w.npz").file != Entry.of("https://b/w.npz").file
        assert Entry.of("https://a/w.npz?v=1").file != Entry.of("https://a/w.npz?v=2").file

    @pytest.mark.parametrize(("value", "expected"), [("1", True), ("true", True), ("0", False), ("", False)])
    def test_offline(self, monkeypatch, value, expected):
        monkeypatch.setenv("HF_HUB_OFFLINE", value)
        assert bool(offline()) is expected

    def test_unwritable(self, tmp_path, monkeypatch):
        (tmp_path / "file").touch()
        monkeypatch.setenv("KERAS_VIT_HOME", str(tmp_path / "file"))
        with files(GOOD) as site, pytest.raises(InputError, match="set KERAS_VIT_HOME"):
            fetch(site.url())


class TestUrl:
    def test_fetched_once(self, left_over, capsys):
        with files(GOOD) as site:
            path = fetch(site.url())
            assert path.read_bytes() == CONTENT
            assert fetch(site.url()) == path
            assert len(site.requests) == 1
        printed = capsys.readouterr().out
        assert str(path) in printed
        assert f"#sha256={DIGEST}" in printed
        assert left_over() == ["model.safetensors", "model.safetensors.json"]
        assert json.loads(Path(f"{path}.json").read_text())["sha256"] == DIGEST

    def test_checksum(self, home, capsys):
        with files(GOOD) as site:
            fetch(f"{site.url()}#sha256={DIGEST.upper()}")
            assert "to insist" not in capsys.readouterr().out
            fetch(f"{site.url()}#sha256={DIGEST}")
            assert len(site.requests) == 1

    def test_wrong_checksum(self, left_over):
        with files(GOOD) as site, pytest.raises(Failure, match=f"SHA-256 {DIGEST} and not {'0' * 64}"):
            fetch(f"{site.url()}#sha256={'0' * 64}")
        assert left_over() == []

    def test_another_checksum_than_the_cached_file_has(self):
        with files(GOOD, Answer(OTHER, '"two"')) as site:
            fetch(site.url())
            path = fetch(f"{site.url()}#sha256={hashlib.sha256(OTHER).hexdigest()}")
            assert path.read_bytes() == OTHER

    @pytest.mark.parametrize("damage", [b"", CONTENT[:-1], b"?" + CONTENT[1:]])
    def test_damaged_in_the_cache(self, damage, capsys):
        with files(GOOD) as site:
            path = fetch(site.url())
            path.write_bytes(damage)
            assert fetch(site.url()).read_bytes() == CONTENT
            assert len(site.requests) == 2
        assert "damaged" in capsys.readouterr().out

    @pytest.mark.parametrize("record", ["", "[1]", "{}"])
    def test_damaged_record(self, record):
        with files(GOOD) as site:
            path = fetch(site.url())
            Path(f"{path}.json").write_text(record)
            assert fetch(site.url()).read_bytes() == CONTENT
            assert len(site.requests) == 2

    @pytest.mark.parametrize("content", [CONTENT, b""])
    @pytest.mark.parametrize("how", [{}, {"length": False}, {"chunked": True}])
    def test_lengths(self, content, how):
        with files(Answer(content, **how)) as site:
            assert fetch(site.url()).read_bytes() == content

    @pytest.mark.parametrize("status", [401, 403, 404, 410])
    def test_not_there(self, status, left_over):
        with files(Answer(status=status)) as site:
            with pytest.raises(InputError, match=f"server answers {status}.*check the address"):
                fetch(site.url("/w.npz?key=secret"))
            assert len(site.requests) == 1
        assert left_over() == []

    def test_a_key_in_the_query_is_not_shown(self, capsys):
        with files(GOOD) as site:
            path = fetch(site.url("/w.npz?key=secret"))
        assert "secret" not in capsys.readouterr().out + Path(f"{path}.json").read_text() + str(path)

    def test_nobody_listens(self):
        with files(GOOD) as site:
            url = site.url()
        with pytest.raises(
            Failure, match=r"could not be fetched \(.*refused.*\): check the address and the connection"
        ):
            fetch(url)

    @pytest.mark.parametrize(
        "url", ["https://", "http://[::1", "https://host:port/x", "https://host/a b", "https://host/é"]
    )
    def test_no_url(self, url):
        with pytest.raises(InputError, match="is not a URL"):
            fetch(url)

    def test_user_name(self):
        with pytest.raises(InputError, match="holds a user name") as caught:
            split_checksum("https://me:secret@host/w.npz")
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("fragment", ["sha256=12", "md5=" + "0" * 32, "sha256:" + "0" * 64])
    def test_no_checksum(self, fragment):
        with pytest.raises(InputError, match="write #sha256="):
            fetch(f"https://host/w.npz#{fragment}")


class TestDisk:
    def test_too_big_for_the_disk(self, left_over):
        with files(Answer(CONTENT, claim=10**18)) as site:
            with pytest.raises(InputError, match=r"needs 1000000000.00 GB and .* free: free some space or set"):
                fetch(site.url())
            assert len(site.requests) == 1
        assert left_over() == []

    def test_full_while_writing(self):
        """A limit on the size of files fails in `write`, as a disk does that another program fills meanwhile."""
        resource = pytest.importorskip("resource", reason="needs limits on resources, which Windows has not")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        with files(GOOD) as site:
            try:
                resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
                with pytest.raises(InputError, match=r"cannot be written \(File too large\): free some space or set"):
                    fetch(site.url())
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            assert fetch(site.url()).read_bytes() == CONTENT
            assert site.ranges == [None, "bytes=200000-"]


class TestOffline:
    @pytest.mark.parametrize("variable", ["KERAS_VIT_OFFLINE", "HF_HUB_OFFLINE"])
    def test_url(self, monkeypatch, variable):
        with files(GOOD) as site:
            monkeypatch.setenv(variable, "1")
            with pytest.raises(InputError, match=f"{site.url()} is not in the cache and {variable} forbids"):
                fetch(site.url())
            monkeypatch.delenv(variable)
            path = fetch(site.url())
            monkeypatch.setenv(variable, "1")
            assert fetch(site.url()) == path
            path.write_bytes(b"")
            with pytest.raises(InputError, match="damaged or with another checksum"):
                fetch(site.url())
            assert len(site.requests) == 1

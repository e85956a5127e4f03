"""An empty cache for the tests that fetch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from keras_vit.weights import download, transfer


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty cache folder, none of the settings of the person who runs the tests, and short waits."""
    for name in ("KERAS_VIT_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KERAS_VIT_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE_S", 0.01)
    monkeypatch.setattr(transfer, "TIMEOUT_S", 5.0)
    return tmp_path / "cache"


@pytest.fixture
def left_over(home) -> Callable[[], list[str]]:
    """Gives the names of the files in the cache of URLs."""
    return lambda: sorted(path.name for path in (home / "urls").rglob("*") if path.is_file())

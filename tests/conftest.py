"""What every test may ask for: the real data and weights that CI has, and a small real run."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs {folder}, which is not part of the project")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets; the test is skipped where it is missing."""
    return _shared("data")


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """Folder of the real pretrained weights; the test is skipped where it is missing."""
    return _shared("weights")


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)

"""The package as a whole: what importing it costs, its names, and that it runs on another backend."""

from __future__ import annotations

import importlib.util
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import keras_vit

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("tensorflow_datasets", "keras_cv", "sklearn", "matplotlib", "jsonargparse", "rich", "safetensors", "tf2onnx")


def python(code: str, **environment) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_importing_loads_no_heavy_library_beyond_keras():
    code = (
        "import sys, keras; before = set(sys.modules); import keras_vit; "
        f"print([name for name in {HEAVY} if name in set(sys.modules) - before])"
    )
    assert python(code).strip() == "[]"


def test_every_public_name_is_there():
    for name in keras_vit.__all__:
        assert getattr(keras_vit, name) is not None
    with pytest.raises(AttributeError):
        keras_vit.nonsense  # noqa: B018


def test_every_module_imports():
    for module in pkgutil.walk_packages(keras_vit.__path__, "keras_vit."):
        if "runners" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def test_scripts_are_executable():
    for script in ("scripts/quickstart.sh", "scripts/test.sh", ".ci/run"):
        assert os.access(ROOT / script, os.X_OK), script
        subprocess.run(["bash", "-n", ROOT / script], check=True)

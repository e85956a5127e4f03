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


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax, which the test extra installs")
def test_layers_and_models_run_on_jax():
    """The same tests of layers and models, on another Keras backend.

    Of token merging the operation itself, of detection one size: JAX compiles models of many shapes anew, for minutes.
    """
    chosen = ["-k", "not golden and not published and not any_patch"]
    for name in ("TestModel", "TestPositions"):
        chosen += ["--deselect", f"tests/model/test_token_merging.py::{name}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/model", *chosen, "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax, which the test extra installs")
def test_training_says_that_it_needs_tensorflow():
    done = subprocess.run(
        [sys.executable, "-m", "keras_vit", "train", "--data", "digits", "--model", "vit_mu4", "--image-size", "8"],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "Training needs Keras on TensorFlow, not on jax" in done.stderr


def test_scripts_are_executable():
    for script in ("scripts/quickstart.sh", "scripts/test.sh", ".ci/run"):
        assert os.access(ROOT / script, os.X_OK), script
        subprocess.run(["bash", "-n", ROOT / script], check=True)

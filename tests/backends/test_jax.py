"""Keras on JAX: what runs there, and what says that it does not."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="needs jax, which the test extra installs"
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
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

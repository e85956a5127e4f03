"""The classifier and the images that the export tests share."""

from __future__ import annotations

import keras
import pytest
from export_helpers import make_examples, trained_model

from keras_vit.data import Examples


@pytest.fixture(scope="session")
def examples() -> Examples:
    return make_examples(48)


@pytest.fixture(scope="session")
def model(examples) -> keras.Model:
    return trained_model(examples)

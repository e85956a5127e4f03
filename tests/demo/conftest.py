"""A run with a real exported file, and the demo's server over it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from demo_helpers import Client, encode
from PIL import Image

from keras_vit.demo import Demo, Server
from keras_vit.export import export_graph
from keras_vit.export.metadata import add_metadata
from keras_vit.export.tflite import write_tflite
from keras_vit.training import load_run


@pytest.fixture(scope="session")
def own(run, tmp_path_factory) -> Path:
    """A copy of the finished run with an exported float file."""
    folder = shutil.copytree(run.folder, tmp_path_factory.mktemp("runs") / "own")
    file = folder / "export" / "model.tflite"
    file.parent.mkdir()
    write_tflite(export_graph(run.model, batch=1), file)
    add_metadata(file, name="own", class_names=run.class_names, preprocessing=run.preprocessing)
    return folder


@pytest.fixture(scope="session")
def demo(own) -> Demo:
    found = Demo(load_run(own), max_megapixels=0.25)
    found.warm_up()
    return found


@pytest.fixture(scope="session")
def server(demo):
    """A server with small limits: 1 MB, and a quarter of a megapixel."""
    server = Server(max_megabytes=1)
    server.start(demo)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def client(server) -> Client:
    return Client(server)


@pytest.fixture(scope="session")
def photo(blobs) -> np.ndarray:
    """(48, 64, 3): one of the test images, larger."""
    with np.load(blobs) as arrays:
        image = Image.fromarray(arrays["x_test"][1])
    return np.asarray(image.resize((64, 48), Image.Resampling.NEAREST))


@pytest.fixture(scope="session")
def content(photo) -> bytes:
    """Its bytes as a PNG file."""
    return encode(photo, "PNG")

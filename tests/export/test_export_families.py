"""Every family leaves the package as it is inside it: export graph, TFLite file and SavedModel equal the source."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from export_helpers import CLASS_NAMES, IMAGE_SIZE

import keras_vit
from keras_vit.export import export, export_graph
from keras_vit.export.graph import ExportGraph, optimise, read
from keras_vit.export.graph.equalise import equalise, observe
from keras_vit.export.inspect import obstacles
from keras_vit.export.quantize import DYNAMIC, INTEGER, collect, float_operators, quantize
from keras_vit.export.running import outputs_of
from keras_vit.export.tflite import write_tflite
from keras_vit.variants import FAMILIES

OPERATORS = {
    *("ADD", "BATCH_MATMUL", "CONCATENATION", "FULLY_CONNECTED", "GELU", "LOGISTIC", "MEAN", "MUL", "NEG", "PAD"),
    *("RESHAPE", "RSQRT", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "STRIDED_SLICE", "SUB", "TRANSPOSE"),
}
"""All that any family needs. Whatever does not depend on the image, such as the gathering of relative position biases
and the reshaping of tables, is a constant of the file."""

LEFT_IN_FLOAT = set()
"""What has no integer kernel in TFLite."""

CLASSES = len(CLASS_NAMES)
NAMES = (*(f"{family}_mu16" for family in FAMILIES), "beit_b4")
"""Every family, and one with so many heads and patches that folding its bias is no matter of course."""


@pytest.fixture(scope="module")
def models(randomize) -> dict[str, keras.Model]:
    """Architecture -> a model with random weights, no two alike: the converter would merge equal parts."""

    def random_model(name: str, seed: int) -> keras.Model:
        model = keras_vit.build(name, depth=2, image_size=IMAGE_SIZE, num_classes=CLASSES, seed=seed)
        randomize(model, seed)
        assert all(np.all(np.asarray(weight)) for weight in model.weights)
        return model

    return {name: random_model(name, seed) for seed, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (4, *IMAGE_SIZE, 3), "uint8")


@pytest.fixture(scope="module")
def calibration() -> np.ndarray:
    """Other images than those that files are judged on, with a black and a white pixel."""
    images = np.random.default_rng(2).integers(0, 256, (16, *IMAGE_SIZE, 3), "uint8")
    images[:, 0, 0], images[:, 0, 1] = 0, 255
    return images


@pytest.fixture(scope="module")
def expected(models, pixels) -> dict[str, np.ndarray]:
    """Architecture -> probabilities (n, C)."""
    return {name: np.asarray(keras.ops.softmax(model(pixels))) for name, model in models.items()}


@pytest.fixture(scope="module")
def graphs(models) -> dict[str, ExportGraph]:
    """Architecture -> export graph."""
    return {name: export_graph(model, batch=1) for name, model in models.items()}


@pytest.fixture(scope="module")
def integer_graphs(models, calibration) -> dict[str, ExportGraph]:
    """Architecture -> equalised export graph for integer kernels."""

    def graph(model):
        network = optimise(read(model))
        return ExportGraph(equalise(network, observe(network, calibration)), batch=1, integer=True)

    return {name: graph(model) for name, model in models.items()}


class Together(tf.Module):
    """Graphs side by side: probabilities (1, C * graphs). One file for all, because a conversion takes seconds."""

    def __init__(self, graphs):
        super().__init__(name="together")
        self.graphs = graphs
        self.input_shape = graphs[0].input_shape

    def __call__(self, image):
        outputs = []
        for index, graph in enumerate(self.graphs):
            with tf.name_scope(f"graph_{index}"):
                outputs.append(graph(image))
        return tf.concat(outputs, axis=-1)


def run(model: Path, pixels: np.ndarray, names) -> dict[str, np.ndarray]:
    """Architecture -> probabilities of a file of all graphs in LiteRT."""
    images = model.with_name("images.npy")
    np.save(images, pixels)
    probabilities = outputs_of(model, images, 2)
    return dict(zip(names, np.split(probabilities, len(names), axis=1), strict=True))


@pytest.fixture(scope="module")
def litert(graphs, pixels, tmp_path_factory):
    """One float32 TFLite file with all graphs: its path, and architecture -> probabilities in LiteRT."""
    model = tmp_path_factory.mktemp("litert") / "model.tflite"
    write_tflite(Together(list(graphs.values())), model)
    return model, run(model, pixels, graphs)


@pytest.fixture(scope="module")
def dynamic(litert, graphs, pixels, tmp_path_factory):
    """The same with int8 weights and activations quantised while running."""
    model = tmp_path_factory.mktemp("dynamic") / "model.tflite"
    quantize(litert[0], model, DYNAMIC)
    return model, run(model, pixels, graphs)


@pytest.fixture(scope="module")
def integer(integer_graphs, calibration, pixels, tmp_path_factory):
    """The same in integers from the pixels on."""
    folder = tmp_path_factory.mktemp("integer")
    np.save(folder / "calibration.npy", calibration)
    write_tflite(Together(list(integer_graphs.values())), folder / "float.tflite")
    statistics = collect(folder / "float.tflite", folder / "calibration.npy")
    quantize(folder / "float.tflite", folder / "model.tflite", INTEGER, statistics)
    return folder / "model.tflite", run(folder / "model.tflite", pixels, integer_graphs)


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_equals_the_source(name, graphs, expected, pixels):
    assert expected[name].std() > 0.05
    images = [graphs[name](image[None].astype("float32"))[0] for image in pixels]
    np.testing.assert_allclose(images, expected[name], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_tflite_equals_the_source(name, litert, expected):
    np.testing.assert_allclose(litert[1][name], expected[name], atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("kind", "error", "decided"), [("dynamic", 0.02, 0.1), ("integer", 0.15, 0.5)])
def test_quantised_files_agree_with_the_source(kind, error, decided, name, expected, request):
    """Random networks on noise are the hardest case: what a trained one loses is measured on real images."""
    found = request.getfixturevalue(kind)[1][name]
    assert 0 < np.abs(found - expected[name]).mean() < error
    clear = np.diff(np.sort(expected[name], axis=-1)[:, -2:])[:, 0] > decided
    assert (found.argmax(-1) == expected[name].argmax(-1))[clear].all()


@pytest.mark.parametrize("kind", ["litert", "dynamic", "integer"])
def test_no_file_needs_more_than_a_bare_runtime(kind, request):
    assert obstacles(request.getfixturevalue(kind)[0]) == []


def test_integer_files_compute_in_integers(integer):
    assert {name.split()[0] for name in float_operators(integer[0])} <= LEFT_IN_FLOAT


def test_tflite_needs_few_operators_and_one_image(litert):
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(litert[0].read_bytes(), 0))
    names = {code: name for name, code in vars(schema.BuiltinOperator).items()}
    (subgraph,) = model.subgraphs
    found = Counter(names[model.operatorCodes[operator.opcodeIndex].builtinCode] for operator in subgraph.operators)
    assert set(found) <= OPERATORS
    shapes = [subgraph.tensors[index].shape.tolist() for index in (*subgraph.inputs, *subgraph.outputs)]
    assert shapes == [[1, *IMAGE_SIZE, 3], [1, CLASSES * len(NAMES)]]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clip_mu16", "eva02_mu16"])
def test_saved_model_equals_the_source(name, models, examples, tmp_path):
    report = export(
        models[name],
        tmp_path / "export",
        class_names=CLASS_NAMES,
        validation=examples,
        formats=["saved_model"],
        limit=8,
        progress=False,
    )
    (entry,) = report["artifacts"]
    assert entry["ok"]
    assert 0 < entry["max_error"] < 1e-5

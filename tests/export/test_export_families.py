"""Every family leaves the package as it is inside it: export graph, TFLite file and SavedModel equal the source."""

from __future__ import annotations

from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from export_helpers import CLASS_NAMES, IMAGE_SIZE

import keras_vit
from keras_vit.export import export, export_graph
from keras_vit.export.graph import ExportGraph
from keras_vit.export.process import RUNNERS, run_script
from keras_vit.export.tflite import write_tflite
from keras_vit.variants import FAMILIES

OPERATORS = {
    *("ADD", "BATCH_MATMUL", "CONCATENATION", "FULLY_CONNECTED", "GELU", "LOGISTIC", "MEAN", "MUL", "NEG", "PAD"),
    *("RESHAPE", "RSQRT", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "STRIDED_SLICE", "SUB", "TRANSPOSE"),
}
"""All that any family needs. Whatever does not depend on the image, such as the gathering of relative position biases
and the reshaping of tables, is a constant of the file."""

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
def expected(models, pixels) -> dict[str, np.ndarray]:
    """Architecture -> probabilities (n, C)."""
    return {name: np.asarray(keras.ops.softmax(model(pixels))) for name, model in models.items()}


@pytest.fixture(scope="module")
def graphs(models) -> dict[str, ExportGraph]:
    """Architecture -> export graph."""
    return {name: export_graph(model, batch=1) for name, model in models.items()}


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


@pytest.fixture(scope="module")
def litert(graphs, pixels, tmp_path_factory):
    """One TFLite file with all graphs: its path, and architecture -> probabilities in LiteRT."""
    folder = tmp_path_factory.mktemp("litert")
    model, images, results = folder / "model.tflite", folder / "images.npy", folder / "results.npz"
    write_tflite(Together(list(graphs.values())), model)
    np.save(images, pixels)
    arguments = [model, results, "--images", images]
    run_script(RUNNERS / "run_tflite.py", arguments, log=folder / "run.log", stage="Running", remedy="see the log.")
    probabilities = np.load(results)["serving_default.probabilities"]
    return model, dict(zip(graphs, np.split(probabilities, len(graphs), axis=1), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_equals_the_source(name, graphs, expected, pixels):
    assert expected[name].std() > 0.05
    images = [graphs[name](image[None].astype("float32"))[0] for image in pixels]
    np.testing.assert_allclose(images, expected[name], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_tflite_equals_the_source(name, litert, expected):
    np.testing.assert_allclose(litert[1][name], expected[name], atol=1e-4)


def test_tflite_needs_few_operators_and_one_image(litert):
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(litert[0].read_bytes(), 0))
    names = {code: name for name, code in vars(schema.BuiltinOperator).items()}
    (subgraph,) = model.subgraphs
    found = Counter(names[model.operatorCodes[operator.opcodeIndex].builtinCode] for operator in subgraph.operators)
    assert set(found) <= OPERATORS
    shapes = [subgraph.tensors[index].shape.tolist() for index in (*subgraph.inputs, *subgraph.outputs)]
    assert shapes == [[1, *IMAGE_SIZE, 3], [1, CLASSES * len(NAMES)]]


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

"""Quantised files are run by the real interpreter and compared with the float file that they come from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from export_helpers import IMAGE_SIZE

import keras_vit
from keras_vit.data import eval_dataset
from keras_vit.errors import InputError
from keras_vit.export.graph import ExportGraph, optimise, read
from keras_vit.export.quantize import (
    DYNAMIC,
    INT16,
    INTEGER,
    INTEGER_UINT8,
    MIXED,
    WEIGHT_ONLY,
    Policy,
    Rule,
    collect,
    float_operators,
    operators,
    quantize,
)
from keras_vit.export.quantize.file import ModelFile
from keras_vit.export.quantize.scales import (
    Scale,
    least_error_range,
    pack_int4,
    quantize_weights,
    smallest_weight_scales,
)
from keras_vit.export.tflite import write_tflite


@pytest.fixture(scope="module")
def images(model, examples) -> np.ndarray:
    batches = eval_dataset(examples, keras_vit.preprocessing_of(model), num_classes=4, batch_size=len(examples))
    return next(iter(batches))[0].numpy().round().clip(0, 255).astype("uint8")


@pytest.fixture(scope="module")
def calibration(images, tmp_path_factory):
    path = tmp_path_factory.mktemp("calibration") / "images.npy"
    np.save(path, images[:16])
    return path


@pytest.fixture(scope="module")
def source(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("float") / "model.tflite"
    write_tflite(ExportGraph(optimise(read(model)), batch=1, integer=True), path)
    return path


@pytest.fixture(scope="module")
def statistics(source, calibration):
    return collect(source, calibration)


def run(path, images: np.ndarray) -> np.ndarray:
    """Probabilities (n, C) of uint8 images."""
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    given, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    found = []
    for image in images:
        interpreter.set_tensor(given["index"], image[None].astype(given["dtype"]))
        interpreter.invoke()
        found.append(interpreter.get_tensor(result["index"])[0])
    found = np.array(found)
    if result["dtype"] is np.float32:
        return found
    scale, zero_point = result["quantization"]
    return (found.astype("float64") - zero_point) * scale


def types(path) -> dict[str, set]:
    """Types of the activations of a file, by part of their names."""
    return {detail["name"]: detail["dtype"] for detail in Interpreter(model_path=str(path)).get_tensor_details()}


@pytest.fixture(scope="module")
def expected(source, images):
    return run(source, images)


@pytest.mark.parametrize(
    ("policy", "error", "agreement"),
    [
        (WEIGHT_ONLY, 0.01, 0.97),
        (DYNAMIC, 0.01, 0.97),
        (dataclasses.replace(DYNAMIC, bias_correction=True, weight_clipping="mse"), 0.01, 0.97),
        (INTEGER, 0.06, 0.9),
        (dataclasses.replace(INTEGER, clipping="minmax", bias_correction=False), 0.06, 0.9),
        (dataclasses.replace(INTEGER, clipping="mse"), 0.06, 0.9),
        (INTEGER_UINT8, 0.06, 0.9),
        (MIXED, 0.06, 0.9),
        (INT16, 0.01, 0.97),
        (dataclasses.replace(WEIGHT_ONLY, weight_bits=4, weight_clipping="mse"), 0.1, 0.8),
        (dataclasses.replace(DYNAMIC, weight_bits=4, weight_clipping="mse"), 0.1, 0.8),
    ],
)
def test_a_quantised_file_computes_what_its_source_does(
    policy, error, agreement, source, statistics, images, expected, tmp_path
):
    path = tmp_path / "quantised.tflite"
    quantize(source, path, policy, statistics)
    found = run(path, images)
    assert np.abs(found - expected).mean() < error
    assert (found.argmax(-1) == expected.argmax(-1)).mean() >= agreement
    assert path.stat().st_size < 0.6 * source.stat().st_size


@pytest.mark.parametrize("policy", [INTEGER, INTEGER_UINT8, MIXED, INT16])
def test_integer_files_have_nothing_in_float(policy, source, statistics, tmp_path):
    path = tmp_path / "quantised.tflite"
    quantize(source, path, policy, statistics)
    kept = {"SPACE_TO_DEPTH", "RESHAPE"} if policy is INT16 else set()
    assert {name.split()[0] for name in float_operators(path)} <= kept
    interpreter = Interpreter(model_path=str(path))
    given, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert given["dtype"] is np.uint8
    assert given["quantization"] == (1.0, 0)
    assert tuple(given["shape"]) == (1, *IMAGE_SIZE, 3)
    if policy.output == "uint8":
        assert result["dtype"] is np.uint8
        assert result["quantization"] == (1 / 256, 0)
    else:
        assert result["dtype"] is np.float32
    assert list(interpreter.get_signature_list()["serving_default"]["outputs"]) == ["probabilities"]


def test_each_operator_follows_the_last_rule_that_matches_it(source, statistics, tmp_path):
    path = tmp_path / "quantised.tflite"
    policy = INTEGER.with_rules(Rule("int16", "block_0/"), Rule("float", kinds=("SOFTMAX",)), Rule("float", "^head/"))
    quantize(source, path, policy, statistics)
    kinds = [name.split()[0] for name in float_operators(path)]
    assert kinds.count("SOFTMAX") == sum(kind == "SOFTMAX" for _, kind in operators(source))
    assert kinds.count("FULLY_CONNECTED") >= 1
    assert types(path)["block_0/add1/add"] is np.int16


def test_policies_are_many_and_statistics_are_one(source, statistics, images, expected, tmp_path):
    scopes = {name.split("/")[0] for name, _ in operators(source)}
    assert {"patch_embedding", "block_0", "head", "probabilities"} <= scopes
    errors = {}
    for scope in ("block_0/mlp", "block_0/attention"):
        quantize(source, tmp_path / "q.tflite", INTEGER.with_rules(Rule("float", scope)), statistics)
        errors[scope] = np.abs(run(tmp_path / "q.tflite", images[:8]) - expected[:8]).mean()
    assert errors["block_0/mlp"] != errors["block_0/attention"]
    assert max(errors.values()) < 0.1


def test_sums_of_very_unequal_terms_run(source, statistics, images, tmp_path):
    # As small LayerScales make them.
    file = ModelFile.read(source)
    add = next(op for op in file.graph.operators if file.name(op.outputs[0]) == "block_0/add1/add")
    place = statistics.tensors[int(add.inputs[1])]
    low, high = statistics.low.copy(), statistics.high.copy()
    low[:, place] *= 1e-6
    high[:, place] *= 1e-6
    path = tmp_path / "quantised.tflite"
    quantize(
        source,
        path,
        dataclasses.replace(INTEGER, clipping="minmax"),
        dataclasses.replace(statistics, low=low, high=high),
    )
    assert np.isfinite(run(path, images[:2])).all()


def test_statistics_are_those_of_the_activations(source, statistics, calibration):
    images = np.load(calibration).astype("float64")
    place = statistics.tensors[int(ModelFile.read(source).graph.inputs[0])]
    assert statistics.low[:, place] == pytest.approx(images.min((1, 2, 3)))
    assert statistics.high[:, place] == pytest.approx(images.max((1, 2, 3)))
    assert statistics.counts[place].sum() == images.size
    image = int(ModelFile.read(source).graph.inputs[0])
    assert statistics.range(image, "minmax") == (images.min(), images.max())
    low, high = statistics.range(image, 90.0)
    assert low == pytest.approx(np.percentile(images, 5), abs=1)
    assert high == pytest.approx(np.percentile(images, 95), abs=1)
    low, high = statistics.range(image, "average")
    assert high == pytest.approx(images.max((1, 2, 3)).mean())


def test_files_share_equal_arrays_and_align_weights(source, statistics, tmp_path):
    path = tmp_path / "quantised.tflite"
    quantize(source, path, INTEGER, statistics)
    content, file = path.read_bytes(), ModelFile.read(source)
    matrix = max((b.data for b in file.model.buffers if b.data is not None), key=len).view(np.float32).reshape(32, -1)
    weights = quantize_weights(matrix, 8, "minmax", 0.0)[0].tobytes()
    assert content.count(weights) == 1
    assert content.index(weights) % 16 == 0


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.0, 255.0), (0.5, 2.0), (-4.0, -1.0), (0.0, 0.0)])
def test_scales_hold_their_range_and_zero(low, high):
    scale = Scale.of_range(low, high, 8)
    values = np.linspace(min(low, 0), max(high, 0), 50)
    assert np.abs((scale.quantize(values) - float(scale.zero_point)) * scale.scale - values).max() <= scale.scale
    assert scale.quantize(np.zeros(1))[0] == scale.zero_point
    assert Scale.of_range(low, high, 8, symmetric=True).zero_point == 0
    assert Scale.of_range(low, high, 16).zero_point == 0


def test_clipped_weights_have_the_smaller_error():
    weights = np.random.default_rng(0).standard_t(3, (16, 256))
    errors = {}
    for clipping in ("minmax", "mse"):
        values, scales = quantize_weights(weights, 4, clipping)
        assert np.abs(values).max() == 7
        errors[clipping] = ((values * scales[:, None] - weights) ** 2).sum(1)
    assert (errors["mse"] <= errors["minmax"]).all()
    assert errors["mse"].sum() < 0.95 * errors["minmax"].sum()


def test_a_channel_without_weights_keeps_its_bias():
    bias, step = np.array([5.0, 0.1]), 0.02
    values, scales = quantize_weights(
        np.array([[0.0, 0.0], [1.0, -1.0]]), 8, "minmax", smallest_weight_scales(bias, step)
    )
    assert (np.abs(bias / (step * scales)) < 2**31).all()
    assert values.tolist() == [[0, 0], [127, -127]]


def test_four_bits_are_two_a_byte():
    assert pack_int4(np.array([[1, -1], [7, -7], [-8, 0]], np.int8)).tolist() == [0xF1, 0x97, 0x08]


def test_the_range_of_least_error_leaves_outliers_out():
    values = np.random.default_rng(0).normal(size=100_000)
    counts, _ = np.histogram(values, 4096, (-32, 32))
    counts = 1000 * counts
    counts[4000] = 1
    low, high = least_error_range(counts, 32.0, float(values.min()), 30.5)
    assert values.min() < low < 0
    assert high < 25


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Rule("int7"), "There is no precision 'int7'"),
        (lambda: Rule("int8", "block_("), r"The scope 'block_\(' is not a regular expression"),
        (lambda: Policy(()), "A policy without rules"),
        (lambda: Policy((Rule("int8"),), clipping="maximum"), "There is no clipping 'maximum'"),
        (lambda: Policy((Rule("int8"),), clipping=0.999), "above 50 and up to 100, not 0.999"),
        (lambda: Policy((Rule("int8"),), weight_bits=4), "4-bit weights are for"),
        (lambda: Policy((Rule("dynamic"),), weight_bits=2), "8 or 4 bits, not 2"),
        (lambda: Policy((Rule("int8"),), input="int9"), "There is no input 'int9'"),
    ],
)
def test_policies_that_cannot_be(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_sources_that_cannot_be_quantised(source, statistics, tmp_path):
    out = tmp_path / "out.tflite"
    with pytest.raises(InputError, match="collect statistics"):
        quantize(source, out, INTEGER)
    with pytest.raises(InputError, match="No operator of the kinds SOFTPLUS has a name with 'block_9'"):
        quantize(source, out, INTEGER.with_rules(Rule("int8", "block_9", ("SOFTPLUS",))), statistics)
    with pytest.raises(InputError, match="cannot be read"):
        quantize(tmp_path / "missing.tflite", out, DYNAMIC)
    (tmp_path / "text.tflite").write_text("no model at all")
    with pytest.raises(InputError, match="is not a TFLite file"):
        quantize(tmp_path / "text.tflite", out, DYNAMIC)
    assert not out.exists()
    quantize(source, out, DYNAMIC)
    with pytest.raises(InputError, match="is quantised already"):
        quantize(out, tmp_path / "twice.tflite", DYNAMIC)
    (tmp_path / "other.tflite").write_bytes(source.read_bytes() + b"0")
    with pytest.raises(InputError, match="are not those of"):
        quantize(tmp_path / "other.tflite", out, INTEGER, statistics)


def test_calibration_images_that_do_not_fit(source, images, tmp_path):
    path = tmp_path / "images.npy"
    with pytest.raises(InputError, match="cannot be read"):
        collect(source, path)
    for wrong, sentence in [
        (images.astype("float32"), "calibration takes uint8 images"),
        (images[:, :16], r"\(n, 32, 48, 3\)"),
        (images[:3], "holds 3 images"),
    ]:
        np.save(path, wrong)
        with pytest.raises(InputError, match=sentence):
            collect(source, path)

"""What is measured of a file, against figures worked out by hand and files of known behaviour."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from export_helpers import CLASS_NAMES
from tiny_files import COUNT, PIXELS, TASK, classify, convert, exact, reference_in

import keras_vit
from keras_vit.export.comparison import compare, disagreements, divergence
from keras_vit.export.errors import ExportFailed
from keras_vit.export.process import run_script
from keras_vit.export.progress import following
from keras_vit.export.running import outputs_of, run_file
from keras_vit.export.verify import affordable, make_reference, measure, spread
from keras_vit.tasks import Classification, Segmentation


@pytest.fixture
def reference(tmp_path):
    return reference_in(tmp_path)


def test_divergence():
    p, q = np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([[0.25, 0.75], [1.0, 0.0]])
    assert divergence(q, p, TASK) == pytest.approx((0.5 * np.log(2) + 0.5 * np.log(2 / 3)) / 2)
    assert divergence(p, p, TASK) == 0
    # An int8 output of 0 counts as a millionth.
    assert divergence(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]), TASK) == pytest.approx(
        0.5 * np.log(0.5) + 0.5 * np.log(0.5e6), rel=1e-4
    )


def test_compare():
    source = np.array([[0.6, 0.4], [0.2, 0.8]])
    found = compare(np.array([[0.5, 0.4], [0.9, 0.1]]), source, TASK).figures()
    assert found["max_error"] == found["errors"]["probabilities"] == pytest.approx(0.7)
    assert found["mean_error"] == pytest.approx((0.1 + 0 + 0.7 + 0.7) / 4)
    assert found["agreement"] == 0.5
    broken = compare(np.array([[np.nan, 0.4], [0.2, 0.8]]), source, TASK).figures()
    assert (broken["max_error"], broken["mean_error"], broken["kl"]) == (None, None, None)
    assert broken["errors"] == {"probabilities": None}


def test_of_a_segmenter_pixels_agree():
    classes = np.array([[[0, 1], [1, 1]], [[0, 0], [0, 0]]])
    outputs = np.eye(2)[classes]
    other = outputs.copy()
    other[0, 0, 0] = [0, 1]
    found = compare(other, outputs, Segmentation(("a", "b")))
    assert found.figures()["agreement"] == 7 / 8
    assert found.shares.tolist() == [0.75, 1.0]


def test_the_most_decided_disagreements_come_first():
    source = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1], [0.9, 0.1, 0.0]])
    outputs = np.array([[0.4, 0.5, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8], [np.nan, 1.0, 0.0]])
    compared = compare(outputs, source, TASK)
    found = disagreements(compared, outputs, source, np.array([0, 1, 2, 0]), ["a/x.jpg", "y", "z", "w"], TASK)
    assert [entry["index"] for entry in found] == [2, 0]
    assert found[1] == {
        "index": 0,
        "image": "x.jpg",
        "label": 0,
        "agreement": 0.0,
        "source": [[0, 0.6], [1, 0.3], [2, 0.1]],
        "file": [[1, 0.5], [0, 0.4], [2, 0.1]],
    }
    assert len(disagreements(compared, outputs, source, np.zeros(4, int), list("xyzw"), TASK, most=1)) == 1


def test_measure(reference, tmp_path):
    path = convert(tmp_path / "model.tflite")
    entry = measure(path, "run_tflite", ("images",), reference, threads=1)
    assert entry["max_error"] < 1e-5
    assert 0 <= entry["kl"] < 1e-9
    assert (entry["agreement"], entry["disagreeing"], entry["disagreements"]) == (1.0, [], [])
    assert entry["metric"] == entry["metric_source"] == pytest.approx((COUNT - 3) / COUNT)
    assert entry["size_bytes"] == path.stat().st_size
    assert set(entry["latency"]) == {"1", "2"}
    assert all(0 < times["median_ms"] <= times["p95_ms"] for times in entry["latency"].values())
    assert entry["latency_ms"] == entry["latency"]["1"]["median_ms"]
    assert entry["load_ms"] > 0
    assert entry["inspection"]["operators"]["FULLY_CONNECTED"] == 1
    assert {file.name for file in tmp_path.iterdir()} == {"images.npy", "model.tflite"}


def test_three_threads_are_measured_beside_one_and_two(reference, tmp_path):
    path = convert(tmp_path / "model.tflite")
    entry = measure(path, "run_tflite", ("images",), reference, threads=3)
    assert list(entry["latency"]) == ["1", "2", "3"]
    assert entry["latency_ms"] == entry["latency"]["3"]["median_ms"]


def test_images_that_a_file_sees_differently_are_told(reference, tmp_path):
    def crippled(image):
        return classify(image * tf.constant([1.0, 1.0, 0.0]))

    path = convert(tmp_path / "model.tflite", function=crippled)
    entry = measure(path, "run_tflite", ("images",), reference, threads=1)
    expected = exact(PIXELS * np.array([1, 1, 0]))
    changed = np.flatnonzero(expected.argmax(-1) != reference.outputs.argmax(-1))
    assert 0 < len(changed) < COUNT
    assert entry["disagreeing"] == changed.tolist()
    assert entry["agreement"] == pytest.approx(1 - len(changed) / COUNT)
    for told in entry["disagreements"]:
        assert told["image"] == f"{told['index']}.jpg"
        assert told["file"][0][0] == expected[told["index"]].argmax()
        assert told["source"][0][0] == reference.outputs[told["index"]].argmax()


@pytest.mark.parametrize("interface", [tf.uint8, tf.int8])
def test_quantised_ends_are_converted_by_their_own_scale(interface, reference, tmp_path):
    path = convert(tmp_path / "model.tflite", interface=interface)
    found = outputs_of(path, reference.inputs["images"], 1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, reference.outputs, atol=0.04)
    # Steps of 1 / 256: the output is an integer of the file's scale.
    np.testing.assert_allclose(found * 256, np.round(found * 256), atol=1e-3)


def test_a_static_batch_is_filled_up(reference, tmp_path):
    path = convert(tmp_path / "model.tflite", batch=4)
    results = run_file(path, "run_tflite", reference.inputs, threads=1)
    np.testing.assert_allclose(results.outputs["serving_default"], reference.outputs, atol=1e-5)
    assert len(results.latency_ms["serving_default"]) == 6


def test_only_the_first_images(reference, tmp_path):
    path = convert(tmp_path / "model.tflite")
    results = run_file(path, "run_tflite", reference.inputs, threads=1, first=5)
    np.testing.assert_allclose(results.outputs["serving_default"], reference.outputs[:5], atol=1e-5)


def test_peak_memory_is_that_of_the_file(reference, tmp_path):
    """Not of the images or the process that asks: a file of 12 MB, which XNNPACK repacks, and one of some kB."""
    wide = np.random.default_rng(0).normal(0, 0.01, (72, 40_000)).astype("float32")
    narrow = np.random.default_rng(1).normal(size=(40_000, 5)).astype("float32")

    def large(image):
        return tf.nn.softmax(tf.nn.relu(tf.reshape(image, (-1, 72)) @ wide) @ narrow)

    small = convert(tmp_path / "small.tflite")
    large = convert(tmp_path / "large.tflite", function=large)
    peaks = [run_file(path, "run_tflite", reference.inputs, threads=1, first=1) for path in (small, large)]
    assert 0 <= peaks[0].peak_memory_bytes < 10e6
    assert 12e6 < peaks[1].peak_memory_bytes < 60e6


def test_a_file_that_does_not_run_leaves_its_log(reference, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"no model")
    with pytest.raises(ExportFailed, match=r"^Running model.tflite failed .*its log says why") as raised:
        measure(path, "run_tflite", ("images",), reference, threads=1)
    assert "Traceback" in raised.value.log.read_text()


def test_progress_lines_are_passed_on(tmp_path):
    script, log, seen = tmp_path / "slow.py", tmp_path / "slow.log", []
    script.write_text("import time\nfor k in (1, 2):\n    print(f'{k}/3 more')\n    print(f'{k}/3', flush=True)\n")
    script.write_text(script.read_text() + "time.sleep(1)\n")
    with following(log, lambda *counts: seen.append(counts)):
        run_script(script, [], log=log, stage="Waiting", remedy="wait.")
    assert seen[-1] == (2, 3)


def test_a_run_tells_its_progress(reference, tmp_path, monkeypatch):
    # The last line is there only until the process has ended, and a fast machine writes no other.
    monkeypatch.setattr("keras_vit.export.progress.SECONDS_BETWEEN_LOOKS", 0.01)
    large = tmp_path / "many.npy"
    np.save(large, np.repeat(PIXELS, 600, axis=0))
    seen = []
    path = convert(tmp_path / "model.tflite")
    run_file(path, "run_tflite", {"images": large}, threads=1, progress=lambda *counts: seen.append(counts))
    assert seen
    assert {total for _, total in seen} == {600 * COUNT}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_reference(model, examples, tmp_path):
    few, seen = spread(examples, 10), []
    assert len(few) == 10
    assert spread(examples, 1000) is examples
    preprocessing = keras_vit.preprocessing_of(model)
    task = Classification(tuple(CLASS_NAMES))
    found = make_reference(model, few, preprocessing, tmp_path, task, progress=lambda *counts: seen.append(counts))
    assert seen[-1] == (10, 10)
    assert (found.task, found.examples, found.score) == (task, few, 1.0)
    stored = np.load(found.inputs["images"])
    expected = keras.ops.softmax(model(stored.astype("float32")))
    assert found.outputs.shape == (10, len(CLASS_NAMES))
    np.testing.assert_allclose(found.outputs, expected, atol=1e-5)
    encoded = np.load(found.inputs["encoded"])
    assert encoded["data"][: encoded["offsets"][1]].tobytes() == few.raw(0)
    assert {file.name for file in tmp_path.iterdir()} == {"encoded.npz", "images.npy", "outputs.npy"}


def test_so_many_images_are_compared_as_their_outputs_have_room():
    model = keras_vit.build("vit_mu16", task="segmentation", num_classes=150, image_size=512)
    assert 20 < affordable(model) < 30
    assert affordable(keras_vit.build("vit_mu16", num_classes=10, image_size=32)) > 1e6

"""Metadata in real files: what they say, that they still run, and that MediaPipe takes them as they are."""

from __future__ import annotations

import shutil
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from edge_helpers import KINDS, convert, run_mediapipe, run_tflite
from export_helpers import CLASS_NAMES

import keras_vit
from keras_vit import InputError
from keras_vit.data import eval_dataset
from keras_vit.export.metadata import BUFFER, Metadata, add_metadata, read_metadata, tensors
from keras_vit.export.tflite_file import read_buffer, read_files
from keras_vit.preprocessing import Preprocessing

ABOUT = {
    "name": "vit_mu16",
    "description": "Tells colours apart: röd, 赤.",
    "version": "3",
    "author": "someone",
    "license": "Apache-2.0",
}


@pytest.fixture(scope="module")
def preprocessing(model):
    return keras_vit.preprocessing_of(model)


@pytest.fixture(scope="module")
def images(examples, preprocessing):
    """(20, H, W, 3) uint8."""
    batches = eval_dataset(examples, preprocessing, num_classes=4, batch_size=20)
    return next(iter(batches))[0].numpy().astype("uint8")


@pytest.fixture(scope="module")
def bare(model, images, tmp_path_factory):
    """Files without metadata, by kind."""
    folder = tmp_path_factory.mktemp("bare")
    ends = np.stack([np.zeros_like(images[0]), np.full_like(images[0], 255)])
    files = {kind: folder / f"{kind}.tflite" for kind in KINDS}
    for kind, settings in KINDS.items():
        convert(model, files[kind], np.concatenate([ends, images[:8]]), **settings)
    return files


@pytest.fixture(params=list(KINDS))
def kind(request):
    return request.param


@pytest.fixture
def about(preprocessing):
    return {**ABOUT, "class_names": CLASS_NAMES, "preprocessing": preprocessing}


@pytest.fixture
def copied(bare, tmp_path):
    return lambda kind="float32": shutil.copy(bare[kind], tmp_path / "model.tflite")


@pytest.fixture
def described(copied, about):
    def make(kind="float32"):
        path = copied(kind)
        add_metadata(path, **about)
        return path

    return make


def test_what_is_written_is_read(described, kind, preprocessing):
    path = described(kind)
    normalization = {"mean": (0.0,), "std": (1.0,)} if not kind.startswith("uint8") else {}
    assert read_metadata(path) == Metadata(
        **ABOUT, class_names=tuple(CLASS_NAMES), preprocessing=preprocessing, **normalization
    )
    assert [file.name for file in path.parent.iterdir()] == ["model.tflite"]


def test_the_file_computes_the_same_bits(described, bare, images, kind):
    np.testing.assert_array_equal(run_tflite(described(kind), images), run_tflite(bare[kind], images))


def test_everything_else_of_the_file_is_kept(described, bare):
    from ai_edge_litert import schema_py_generated as tflite

    before, after = (
        tflite.ModelT.InitFromObj(tflite.Model.GetRootAs(p.read_bytes(), 0)) for p in (bare["float32"], described())
    )
    names = {entry.name.decode() for entry in before.metadata}
    assert "min_runtime_version" in names
    assert {entry.name.decode() for entry in after.metadata} == names | {BUFFER}
    assert all(read_buffer(bare["float32"], name) == read_buffer(described(), name) for name in names)
    assert [d.signatureKey for d in after.signatureDefs] == [b"serving_default"]
    assert (after.version, after.description) == (before.version, before.description)
    assert len(after.buffers) == len(before.buffers) + 1


def test_weights_stay_where_they_are_and_aligned(described, bare):
    def weights(path):
        content = np.fromfile(path, np.uint8)
        whole = content.__array_interface__["data"][0]
        model = tflite.Model.GetRootAs(content, 0)
        buffers = [model.Buffers(i) for i in range(model.BuffersLength())]
        return [
            buffer.DataAsNumpy().__array_interface__["data"][0] - whole for buffer in buffers if buffer.DataLength()
        ]

    from ai_edge_litert import schema_py_generated as tflite

    before, after = weights(bare["float32"]), weights(described())
    shift = after[0] - before[0]
    assert shift % 16 == 0
    assert after[:-1] == [place + shift for place in before]
    assert after[-1] % 16 == 0


def test_the_archive_is_stored_and_says_no_time(described):
    with zipfile.ZipFile(described()) as archive:
        assert archive.namelist() == ["labels.txt", "preprocessing.json"]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time[0] for info in archive.infolist()} == {1980}
        assert archive.read("labels.txt").decode().splitlines() == CLASS_NAMES


def test_metadata_is_replaced_and_other_files_stay(described, bare, about, images):
    path = described()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "mine")
    add_metadata(path, **about | {"name": "second", "class_names": ["a", "b", "c", "d"]})
    assert (read_metadata(path).name, read_metadata(path).class_names) == ("second", ("a", "b", "c", "d"))
    assert set(read_files(path)) == {"labels.txt", "preprocessing.json", "notes.txt"}
    np.testing.assert_array_equal(run_tflite(path, images[:2]), run_tflite(bare["float32"], images[:2]))


def test_a_large_file_is_not_held_in_memory(copied, about, images, bare):
    path = copied()
    with path.open("r+b") as file:
        file.truncate(150_000_000)
    tracemalloc.start()
    add_metadata(path, **about)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000_000
    assert read_metadata(path).class_names == tuple(CLASS_NAMES)
    np.testing.assert_array_equal(run_tflite(path, images[:1]), run_tflite(bare["float32"], images[:1]))


def test_a_bare_file_says_nothing(bare):
    assert read_metadata(bare["float32"]) == Metadata()


def test_tensors(bare):
    [image], [scores] = tensors(bare["uint8"])
    assert (image.shape, image.dtype, image.scale, image.zero_point) == ((1, 32, 48, 3), "uint8", 1.0, 0)
    assert (scores.shape, scores.dtype, scores.scale, scores.zero_point) == ((1, 4), "uint8", 1 / 256, 0)


def test_mediapipe_reads_the_same_schema(described):
    schema = pytest.importorskip("mediapipe.tasks.metadata.metadata_schema_py_generated", reason="needs mediapipe")
    packed = read_buffer(described(), BUFFER)
    record = schema.ModelMetadataT.InitFromObj(schema.ModelMetadata.GetRootAs(packed, 0))
    assert {key: getattr(record, key).decode() for key in ABOUT} == ABOUT
    assert record.minParserVersion == b"1.0.0"
    [graph] = record.subgraphMetadata
    [image], [scores] = graph.inputTensorMetadata, graph.outputTensorMetadata
    assert image.content.contentPropertiesType == schema.ContentProperties.ImageProperties
    assert image.content.contentProperties.colorSpace == schema.ColorSpaceType.RGB
    assert image.processUnits[0].optionsType == schema.ProcessUnitOptions.NormalizationOptions
    assert (image.processUnits[0].options.mean, image.processUnits[0].options.std) == ([0.0], [1.0])
    assert (image.stats.min, image.stats.max) == ([0.0], [255.0])
    assert scores.name == b"probability"
    assert scores.content.contentPropertiesType == schema.ContentProperties.FeatureProperties
    assert scores.associatedFiles[0].type == schema.AssociatedFileType.TENSOR_AXIS_LABELS


def test_mediapipe_classifies_alike(bare, about, images, tmp_path):
    pytest.importorskip("mediapipe", reason="needs mediapipe")
    paths = [Path(shutil.copy(path, tmp_path)) for path in bare.values()]
    for path in paths:
        add_metadata(path, **about)
    for path, found in zip(paths, run_mediapipe(paths, images), strict=True):
        scores = run_tflite(path, images)
        if scores.dtype == np.uint8:
            scores = scores.astype("float32") / 256
        assert len(found) == 20
        assert [best["index"] for best in found] == scores.argmax(-1).tolist()
        assert [best["name"] for best in found] == [CLASS_NAMES[i] for i in scores.argmax(-1)]
        np.testing.assert_allclose([best["score"] for best in found], scores.max(-1), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"class_names": CLASS_NAMES[:3]}, "3 class names for the 4 scores"),
        ({"class_names": ["a", "b\nc", "d", "e"]}, r"'b\\nc' does not fill one line"),
        ({"class_names": ["a", "", "d", "e"]}, "'' does not fill one line"),
        ({"preprocessing": Preprocessing(image_size=(48, 32))}, "takes .*32, 48.*gives .*48, 32"),
        ({"mean": (0.0, 0.0)}, "do not fit 3 channels"),
        ({"task": "clasification"}, "did you mean 'classification'"),
    ],
)
def test_what_does_not_fit_is_refused(copied, about, change, words):
    path = copied()
    before = path.read_bytes()
    with pytest.raises(InputError, match=words):
        add_metadata(path, **about | change)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["model.tflite"]


def test_uint8_pixels_in_other_steps_are_refused(model, images, about, tmp_path):
    import tensorflow as tf

    path = tmp_path / "model.tflite"
    convert(model, path, images // 2, input_type=tf.uint8, output_type=tf.uint8)
    with pytest.raises(InputError, match=r"steps of 0.49.*calibrate it on images that hold both 0 and 255"):
        add_metadata(path, **about)


def test_int8_scores_are_refused(model, images, about, tmp_path):
    import tensorflow as tf

    path = tmp_path / "model.tflite"
    ends = np.stack([np.zeros_like(images[0]), np.full_like(images[0], 255)])
    convert(model, path, ends, input_type=tf.uint8, output_type=tf.int8)
    with pytest.raises(InputError, match="gives int8 scores, but MediaPipe takes float32 or uint8"):
        add_metadata(path, **about)


def test_weights_outside_of_the_model_are_refused(copied, about):
    import flatbuffers
    from ai_edge_litert import schema_py_generated as tflite

    path = copied()
    model = tflite.ModelT.InitFromObj(tflite.Model.GetRootAs(path.read_bytes(), 0))
    model.buffers[3].data, model.buffers[3].offset, model.buffers[3].size = None, 100_000, 768
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output() + bytes(200_000))
    with pytest.raises(InputError, match="outside of the model, as files above 2 GB do"):
        add_metadata(path, **about)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty or damaged"),
        (b"PNG and so on", "not a TFLite file"),
        (b"\xff\xff\xff\x7fTFL3" + bytes(100), "damaged"),
    ],
)
def test_other_files_are_refused(tmp_path, about, content, words):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    for use in (read_metadata, lambda path: add_metadata(path, **about)):
        with pytest.raises(InputError, match=words):
            use(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_metadata(tmp_path / "no.tflite")


def test_damage_is_no_worse_than_a_sentence(described):
    path = described()
    content = path.read_bytes()
    at = content.index(b"M001")
    for start, length in ((at - 4, 4), (at + 8, 40), (content.rindex(b"PK\x01\x02") + 10, 30)):
        path.write_bytes(content[:start] + b"\xff" * length + content[start + length :])
        with suppress(InputError):
            read_metadata(path)


def test_a_file_cut_short_is_no_worse_than_a_sentence(described):
    path = described()
    content = path.read_bytes()
    for length in (9, 100, 400, 1000, len(content) // 2):
        path.write_bytes(content[:length])
        with suppress(InputError):
            read_metadata(path)

"""What TensorBoard shows of what a model looks at: read back from the files of a real run, and piece by piece."""

from __future__ import annotations

import csv
import dataclasses
import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.projector import ProjectorConfig

import keras_vit
from keras_vit.data import load
from keras_vit.errors import InputError
from keras_vit.evaluation import to_array
from keras_vit.explain import attention, attention_distance, distance_figure
from keras_vit.training.average import averaged
from keras_vit.training.looking import ShowLooks, epochs_to_look_after
from keras_vit.training.settings import LogSettings

TAGS = {"validation attention", "validation features", "attention distance"}


def pictures(folder) -> dict[str, list[tuple[int, np.ndarray]]]:
    """Tag -> step and pixels of each picture."""
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    found = {}
    for tag in events.Tags()["tensors"]:
        rows = [(event.step, tf.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]
        found[tag] = [(step, np.asarray(Image.open(io.BytesIO(row[2])))) for step, row in rows]
    return found


@pytest.mark.parametrize(
    ("epochs", "looks", "expected"),
    [(6, 2, {0, 5}), (30, 5, {0, 7, 14, 22, 29}), (3, 5, {0, 1, 2}), (7, 1, {6}), (1, 4, {0}), (7, 0, set())],
)
def test_looks_are_spread_over_the_run(epochs, looks, expected):
    assert epochs_to_look_after(epochs, looks) == expected


@pytest.mark.parametrize("name", ["looks", "embedding", "examples"])
def test_less_than_none_is_refused(name):
    with pytest.raises(InputError, match=f"log.{name} is at least 0, not -1"):
        LogSettings(**{name: -1})


def test_a_run_shows_what_it_looked_at_over_its_epochs(run):
    found = pictures(run.folder / "logs" / "looks")
    assert set(found) == TAGS
    for tag, steps in found.items():
        assert [step for step, _ in steps] == [0, 5], tag
        assert all(picture.std() > 5 for _, picture in steps), tag
        if tag != "attention distance":
            # Eight images in rows of three, each beside what was made of it, 192 pixels and a gap of 6.
            assert steps[0][1].shape == (3 * 198 - 6, 6 * 198 - 6, 3)
            assert not np.array_equal(steps[0][1], steps[1][1])  # it has learned


def test_the_projector_finds_all_its_files(run, blobs):
    folder = run.folder / "logs" / "outcome"
    assert list(folder.glob("events.out.tfevents.*"))  # or TensorBoard would not look here
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (entry,) = config.embeddings
    features = np.loadtxt(folder / entry.tensor_path, delimiter="\t")
    assert features.shape == tuple(entry.tensor_shape) == (20, 32)
    with open(folder / entry.metadata_path, encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    val = load(str(blobs)).val
    chosen = np.linspace(0, len(val) - 1, 20).astype(int)
    assert [row["class"] for row in rows] == [run.class_names[label] for label in val.labels[chosen]]
    assert rows[1]["file"] == f"index {chosen[1]}"
    pooled = keras.Model(run.model.input, run.model.get_layer("head").input)
    np.testing.assert_allclose(features, pooled.predict(val.images[chosen], verbose=0), rtol=2e-4, atol=2e-4)
    sprite = np.asarray(Image.open(folder / entry.sprite.image_path))
    assert list(entry.sprite.single_image_dim) == [48, 48]
    assert sprite.shape == (5 * 48, 5 * 48, 3)
    np.testing.assert_array_equal(sprite[48:96, :48], val.images[chosen[5]].repeat(3, 0).repeat(3, 1))


@pytest.fixture
def look(blobs, tmp_path):
    """Looks into a model after epoch 3 and not after epoch 2, and gives the pictures."""
    val = load(str(blobs)).val

    def once(model):
        record = dataclasses.replace(keras_vit.preprocessing_of(model), fit="pad", crop=1.0)
        shows = ShowLooks(tmp_path / "logs", model, val, record, {3})
        shows.set_model(model)
        shows.on_epoch_end(2)
        shows.on_epoch_end(3)
        shows.on_train_end()
        return shows, pictures(tmp_path / "logs" / "looks")

    return once


def made(**settings) -> keras.Model:
    """Compiled, with an average of its weights that is far from them."""
    model = keras_vit.build("vit_mu4", num_classes=3, image_size=(16, 24), seed=0, **{"depth": 2, **settings})
    optimizer = keras.optimizers.SGD(0.1, use_ema=True)
    model.compile(optimizer)
    optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(0)
    for average in optimizer._model_variables_moving_average:
        average.assign(average + rng.normal(0, 0.2, average.shape))
    return model


def test_it_looks_with_the_averaged_weights(look):
    model = made()
    own = model.get_weights()
    shows, found = look(model)
    assert {tag: [step for step, _ in steps] for tag, steps in found.items()} == {tag: [3] for tag in TAGS}
    assert all(np.array_equal(a, b) for a, b in zip(own, model.get_weights(), strict=True))

    def drawn():
        seen = attention(model, shows.images)
        return to_array(distance_figure(attention_distance(seen, 4), seen.layers, seen.grid, 4))

    with averaged(model):
        np.testing.assert_array_equal(found["attention distance"][0][1], drawn())
    assert not np.array_equal(found["attention distance"][0][1], drawn())


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"dtype": "mixed_float16", "registers": 2}, set()),
        ({"dtype": "mixed_bfloat16", "class_token": False, "pooling": "map"}, set()),
        ({"depth": 3, "token_merging": [0, 4, 0]}, set()),
        ({"token_merging": 4}, {"validation features"}),
    ],
)
def test_of_models_of_every_make(look, settings, missing):
    _, found = look(made(**settings))
    assert set(found) == TAGS - missing
    assert all(picture.std() > 5 for steps in found.values() for _, picture in steps)


def test_nothing_is_shown_of_a_model_that_has_diverged(look):
    model = made()
    for average in model.optimizer._model_variables_moving_average:
        average.assign(np.full(average.shape, np.nan))
    assert look(model)[1] == {}

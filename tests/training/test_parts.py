"""Optimizer, schedule, averaging, accumulation, freezing, devices: each against what it says it does."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vit
from keras_vit.errors import InputError
from keras_vit.training import Recipe, train
from keras_vit.training.average import averaged
from keras_vit.training.devices import make_strategy, resolve_precision
from keras_vit.training.freeze import freeze
from keras_vit.training.optimizers import make_optimizer, make_schedule, rate_scales
from keras_vit.training.optimizers.table import AdamW
from keras_vit.training.settings import TrainSettings
from keras_vit.training.trainer import TrainingModel


@pytest.fixture
def model():
    return keras_vit.build("vit_mu16", num_classes=3, image_size=32, depth=3, seed=0)


def batch(n: int = 16):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 32, 32, 3)).astype("float32")
    return images, keras.utils.to_categorical(np.arange(n) % 3, 3)


LOSS = keras.losses.CategoricalCrossentropy(from_logits=True)


class TestSchedule:
    def test_warm_up_then_cosine(self):
        settings = TrainSettings(epochs=10, warmup_epochs=2, learning_rate=1e-3, final_learning_rate=0.01)
        schedule = make_schedule(settings, steps_per_epoch=50)
        rates = np.array([float(schedule(step)) for step in range(501)])
        np.testing.assert_allclose(rates[:101], np.linspace(0, 1e-3, 101), atol=1e-9)
        cosine = 1e-5 + (1e-3 - 1e-5) * 0.5 * (1 + np.cos(np.pi * np.arange(401) / 400))
        np.testing.assert_allclose(rates[100:], cosine, atol=1e-8)

    def test_no_warm_up(self):
        settings = TrainSettings(epochs=2, warmup_epochs=0, learning_rate=1e-3, final_learning_rate=0)
        assert float(make_schedule(settings, 10)(0)) == pytest.approx(1e-3)
        assert float(make_schedule(settings, 10)(20)) == pytest.approx(0, abs=1e-9)

    def test_warm_up_longer_than_the_run(self):
        schedule = make_schedule(TrainSettings(epochs=1, warmup_epochs=20), 10)
        assert np.isfinite([float(schedule(step)) for step in range(11)]).all()


class TestAverage:
    def test_swaps_and_restores_to_the_bit(self, model):
        model.compile(make_optimizer(TrainSettings(ema=0.9, epochs=1), 5, model, "float32"), LOSS)
        images, targets = batch()
        for _ in range(3):
            model.train_on_batch(images, targets)
        own = model.get_weights()
        with averaged(model):
            inside = model.get_weights()
        assert not all(np.array_equal(a, b) for a, b in zip(own, inside, strict=True))
        assert all(np.array_equal(a, b) for a, b in zip(own, model.get_weights(), strict=True))

    def test_is_the_moving_average(self, model):
        model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.75), LOSS)
        images, targets = batch()
        expected = None
        for _ in range(3):
            model.train_on_batch(images, targets)
            now = np.asarray(model.get_layer("head").kernel)
            expected = now if expected is None else 0.75 * expected + 0.25 * now
        with averaged(model):
            np.testing.assert_allclose(model.get_layer("head").kernel, expected, rtol=1e-5, atol=1e-7)

    def test_does_nothing_without_one(self, model):
        model.compile(make_optimizer(TrainSettings(epochs=1), 5, model, "float32"), LOSS)
        before = model.get_weights()
        with averaged(model):
            assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


class TestLayerwiseRates:
    def test_factors(self, model):
        freeze(model, 2)
        scales = dict(zip((v.path for v in model.trainable_variables), rate_scales(model, 0.5, 3.0), strict=True))
        wanted = {"block_1": 0.25, "block_2": 0.5, "norm": 1.0, "head": 3.0}
        assert {path.split("/")[0]: scale for path, scale in scales.items()} == wanted
        freeze(model, "none")
        assert rate_scales(model, 0.5, 3.0)[0] == 0.5**4

    def test_each_layer_steps_and_decays_as_under_its_own_adamw(self):
        """Two steps of the reference, Keras's AdamW with the layer's own rate and decay, for every variable alone."""
        rng = np.random.default_rng(0)
        values = [rng.normal(size=(3, 2)).astype("float32") for _ in range(3)]
        gradients = [[rng.normal(size=(3, 2)).astype("float32") for _ in values] for _ in range(2)]
        scales = [0.1, 1.0, 4.0]
        variables = [keras.Variable(value, name="kernel") for value in values]
        ours = AdamW(0.01, weight_decay=0.1, rate_scales=scales)
        ours.exclude_from_weight_decay(var_list=variables[:1])
        for step in gradients:
            ours.apply(step, variables)
        for index, scale in enumerate(scales):
            variable = keras.Variable(values[index])
            alone = keras.optimizers.AdamW(0.01 * scale, weight_decay=0.0 if index == 0 else 0.1)
            for step in gradients:
                alone.apply([step[index]], [variable])
            np.testing.assert_allclose(variables[index], variable, rtol=1e-5, atol=1e-7)

    def test_they_are_kept_with_a_model(self):
        again = keras.optimizers.deserialize(keras.optimizers.serialize(AdamW(rate_scales=[0.5, 1.0])))
        assert again.rate_scales == [0.5, 1.0]

    @pytest.mark.parametrize(
        ("wrong", "sentence"), [({"layer_decay": 1.5}, "at most 1"), ({"head_rate": 0.0}, "head_rate is above 0")]
    )
    def test_wrong_settings(self, wrong, sentence):
        with pytest.raises(InputError, match=sentence):
            TrainSettings(**wrong)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_accumulated_micro_batches_equal_the_whole_batch(policy):
    def step(micro_batches: int):
        model = keras_vit.build("vit_mu16", num_classes=3, image_size=32, depth=2, seed=0, dtype=policy)
        model = TrainingModel(model, micro_batches)
        # Plain SGD without clipping: the update is the gradient itself.
        sgd = keras.optimizers.SGD(0.1)
        optimizer = keras.optimizers.LossScaleOptimizer(sgd, 128.0) if policy == "mixed_float16" else sgd
        model.compile(optimizer, LOSS, metrics=["accuracy"], jit_compile=False)
        images, targets = batch(16)
        logs = model.train_on_batch(images, targets, return_dict=True)
        return model.get_weights(), logs

    (whole, whole_logs), (pieces, pieces_logs) = step(1), step(4)
    assert pieces_logs == pytest.approx(whole_logs, rel=1e-3)
    for a, b in zip(whole, pieces, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6 if policy == "float32" else 2e-4)


@pytest.mark.parametrize(
    ("what", "learning"),
    [
        (
            "none",
            {"patch_embedding", "class_token", "position_embedding", "block_0", "block_1", "block_2", "norm", "head"},
        ),
        ("backbone", {"head"}),
        (1, {"block_2", "norm", "head"}),
        (0, {"norm", "head"}),
    ],
)
def test_freezing(model, what, learning):
    freeze(model, what)
    assert {v.path.split("/")[0] for v in model.trainable_variables} == learning
    model.compile(keras.optimizers.SGD(0.5), LOSS)
    before = {v.path: np.asarray(v).copy() for v in model.weights}
    model.train_on_batch(*batch())
    moved = {v.path.split("/")[0] for v in model.weights if not np.array_equal(before[v.path], np.asarray(v))}
    assert moved == learning


class TestDevices:
    def test_auto_without_gpus(self):
        if tf.config.list_physical_devices("GPU"):
            pytest.skip("this machine has a GPU")
        assert make_strategy("auto")[0].num_replicas_in_sync == 1
        assert resolve_precision("auto") == "float32"

    @pytest.mark.parametrize("devices", ["gpu", "cpu:0", "cpu:two", "tpu:1"])
    def test_unknown_forms(self, devices):
        with pytest.raises(InputError, match="devices is auto"):
            make_strategy(devices)

    def test_logical_processors_need_a_new_process(self):
        tf.config.list_logical_devices()
        with pytest.raises(InputError, match="new process"):
            make_strategy("cpu:64")


MIRRORED = """
import json, sys
from keras_vit.training import Recipe, train
settings = json.loads(sys.argv[1])
run = train(Recipe.from_dict(settings), progress=False)
print("FOUND" + json.dumps(run.history))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("accumulate", "precision"),
    [
        (2, "float32"),
        (1, "float32"),
        (1, "mixed_float16"),
    ],
)
def test_two_mirrored_devices_learn_what_one_does(tiny, tmp_path, accumulate, precision):
    changes = {"train.accumulate": accumulate, "train.precision": precision, "train.ema": 0.9}
    changes |= {"train.layer_decay": 0.7, "train.head_rate": 2.0, "log.looks": 1}
    one = train(Recipe.from_dict(tiny(tmp_path / "one", **changes)), progress=False)
    settings = tiny(tmp_path / "two", **changes, **{"train.devices": "cpu:2"})
    done = subprocess.run([sys.executable, "-c", MIRRORED, json.dumps(settings)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    two = json.loads(done.stdout.split("FOUND")[1])
    # Looking into the model works on both, and changes nothing.
    assert all(list((tmp_path / name / "logs" / "looks").glob("events.out.tfevents.*")) for name in ("one", "two"))
    for name in ("loss", "val_loss", "top1", "val_top1"):
        np.testing.assert_allclose(
            two[name], one.history[name], rtol=1e-4 if precision == "float32" else 5e-3, err_msg=name
        )

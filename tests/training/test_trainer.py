"""The training step under every optimizer: micro-batches, replicas, loss scaling, SAM, and what is kept of it."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import optimizer_steps
import pytest
from optimizer_steps import BATCH, examples, noisy, small_model, trained

from keras_vit.training import Recipe, train
from keras_vit.training.average import averaged
from keras_vit.training.optimizers import OPTIMIZERS, make_optimizer
from keras_vit.training.settings import TrainSettings
from keras_vit.training.trainer import TrainingModel

LOSS = keras.losses.CategoricalCrossentropy(from_logits=True)


def state(model: keras.Model) -> list[np.ndarray]:
    """Weights and everything the optimizer keeps."""
    return [np.asarray(variable) for variable in (*model.weights, *model.optimizer.variables)]


def close(left: keras.Model, right: keras.Model, rtol: float, atol: float) -> None:
    for a, b in zip(left.weights, right.weights, strict=True):
        if not noisy(left.optimizer.name, a.path):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=a.path)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_micro_batches_equal_the_whole_batch(name):
    (whole, figures), (pieces, again) = (trained(name, micro_batches=n, eager=True) for n in (1, 4))
    assert again == pytest.approx(figures, rel=1e-4)
    close(whole, pieces, 1e-3, 2e-5)
    with averaged(whole), averaged(pieces):
        close(whole, pieces, 1e-3, 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_half_precision_trains_what_full_precision_does(name):
    exact, figures = trained(name, eager=True)
    half, again = trained(name, "mixed_float16", eager=True)
    assert again["loss"] == pytest.approx(figures["loss"], rel=5e-3)
    assert again["gradient_norm"] == pytest.approx(figures["gradient_norm"], rel=0.02)
    # Lion and, at its start, Adam step by signs, which half precision turns where a gradient is almost 0.
    furthest = 2.5 * 3 * optimizer_steps.RATES[name]
    close(exact, half, 0, furthest)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_overflow_changes_nothing_but_the_scale(name):
    model = TrainingModel(small_model("mixed_float16"), sam=0.05)
    settings = TrainSettings(optimizer=name, epochs=1, warmup_epochs=0, ema=0.5)
    optimizer = make_optimizer(settings, 9, model, "mixed_float16", summed=True)
    optimizer.initial_scale = 256.0
    model.compile(optimizer, LOSS, run_eagerly=True)
    assert model.train_on_batch(*examples(BATCH), return_dict=True)["gradient_norm"] > 0
    before = [(v, np.asarray(v)) for v in (*model.weights, *optimizer.inner_optimizer.variables)]
    scale = optimizer.dynamic_scale
    scale.assign(2.0**60)
    logs = model.train_on_batch(*examples(BATCH), return_dict=True)
    assert float(scale) == 2.0**59
    # A skipped step does not count in the mean of the norms.
    assert logs["gradient_norm"] == float(model.gradient_norm.count) == 0.0
    for variable, value in before:
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_compiled_model_goes_on_after_saving_and_loading(name, policy, tmp_path):
    model = small_model(policy)
    settings = TrainSettings(optimizer=name, epochs=1, warmup_epochs=0.2, ema=0.5, groups=optimizer_steps.GROUPS)
    model.compile(make_optimizer(settings, 9, model, policy), LOSS, run_eagerly=True)
    model.train_on_batch(*examples(BATCH))
    model.save(tmp_path / "model.keras")
    # Keras does not save which variables are frozen.
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    for ours, theirs in zip(model.weights, loaded.weights, strict=True):
        theirs.trainable = ours.trainable
    again = keras.optimizers.deserialize(keras.optimizers.serialize(model.optimizer))
    loaded.compile(again, LOSS, run_eagerly=True)
    loaded.optimizer.build(loaded.trainable_variables)
    model.save_weights(tmp_path / "state.weights.h5")
    loaded.load_weights(tmp_path / "state.weights.h5")
    for one in (model, loaded):
        one.train_on_batch(*examples(BATCH))
    for a, b in zip(state(model), state(loaded), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_one_file_brings_back_model_and_optimizer(name, tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    optimizer = OPTIMIZERS[name].made(0.1, weight_decay=0.1, rate_scales=[0.5, 1.0], decay_scales=[1.0, 0.0])
    model.compile(optimizer, "mse", run_eagerly=True)
    data = np.ones((2, 4)), np.ones((2, 3))
    model.train_on_batch(*data)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is OPTIMIZERS[name].made
    for one in (model, loaded):
        one.run_eagerly = True
        one.train_on_batch(*data)
    for a, b in zip(state(model), state(loaded), strict=True):
        np.testing.assert_array_equal(a, b)


def softmax_gradient(x, y, kernel):
    logits = x @ kernel
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    return x.T @ (shares - y) / len(x)


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_sharpness_aware_steps_are_those_of_the_paper(micro_batches):
    rng = np.random.default_rng(0)
    inputs = keras.Input((5,))
    model = TrainingModel(keras.Model(inputs, keras.layers.Dense(3, use_bias=False)(inputs)), micro_batches, sam=0.3)
    model.compile(keras.optimizers.SGD(0.5), LOSS, run_eagerly=True)
    kernel = np.asarray(model.weights[0], "float64")
    for _ in range(5):
        x, y = rng.normal(size=(8, 5)), np.eye(3)[rng.integers(0, 3, 8)]
        gradient = softmax_gradient(x, y, kernel)
        sharp = softmax_gradient(x, y, kernel + 0.3 * gradient / np.linalg.norm(gradient))
        assert np.abs(sharp - gradient).max() > 1e-3
        kernel -= 0.5 * sharp
        model.reset_metrics()
        logs = model.train_on_batch(x, y, return_dict=True)
        np.testing.assert_allclose(model.weights[0], kernel, atol=1e-6)
        assert logs["gradient_norm"] == pytest.approx(np.linalg.norm(sharp), rel=1e-5)


def test_both_passes_of_a_sharpness_aware_step_drop_the_same():
    (plain, figures), (sharp, again) = (trained("sgd", sam=sam, dropout=0.5, eager=True) for sam in (0.0, 1e-7))
    assert again == pytest.approx(figures, rel=1e-5)
    close(plain, sharp, 1e-4, 1e-6)
    # And the next step draws other masks.
    assert all(np.array_equal(a, b) for a, b in zip(plain._generators, sharp._generators, strict=True))


def test_the_norm_is_the_gradient_s_and_only_training_has_one():
    model = TrainingModel(small_model())
    model.compile(keras.optimizers.SGD(0.5), LOSS, metrics=["accuracy"], run_eagerly=True)
    before = model.get_weights()
    data = examples(BATCH)
    history = model.fit(*data, batch_size=BATCH, validation_data=data, verbose=0).history
    moved = [a - b for a, b in zip(before, model.get_weights(), strict=True)]
    norm = np.sqrt(sum(np.square(part).sum() for part in moved)) / 0.5
    assert history["gradient_norm"][0] == pytest.approx(norm, rel=1e-4)
    assert set(history) == {"loss", "accuracy", "gradient_norm", "val_loss", "val_accuracy"}


def run_mirrored(*cases: dict) -> None:
    done = subprocess.run([sys.executable, optimizer_steps.__file__, json.dumps(cases)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_two_mirrored_devices_do_what_one_does():
    run_mirrored(
        {"name": "muon", "micro_batches": 2, "sam": 0.05},
        # Starts with steps that overflow and are skipped, on all devices or none.
        {"name": "lamb", "policy": "mixed_float16", "scale": 2.0**40},
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_mirrored_devices_in_every_way(name):
    half = {"name": name, "policy": "mixed_float16"}
    one = {"name": name}
    run_mirrored(one, one | {"micro_batches": 2}, one | {"sam": 0.05}, one | {"summed": False}, half)


def test_a_run_with_groups_and_sam(tiny, tmp_path):
    changes = {"train.optimizer": "muon", "train.schedule": "one_cycle", "train.sam": 0.05, "train.epochs": 1}
    changes |= {"train.groups": [{"match": "patch_embedding", "freeze": True}, {"match": "head", "rate": 2.0}]}
    run = train(Recipe.from_dict(tiny(tmp_path / "run", **changes)), progress=False)
    assert run.history["gradient_norm"][0] > 0
    assert "val_gradient_norm" not in run.history
    assert run.recipe.train.groups[0].freeze

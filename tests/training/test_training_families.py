"""What sets families apart learns, is frozen, resumes and stays finite in half precision like everything else."""

from __future__ import annotations

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vit
from keras_vit.cli.main import main
from keras_vit.data import load
from keras_vit.training import Recipe, train
from keras_vit.training.optimizers import make_optimizer
from keras_vit.training.progress import ShowProgress
from keras_vit.training.settings import TrainSettings
from keras_vit.variants import FAMILIES

NEVER_DECAYED = {
    *("bias", "query_bias", "value_bias", "beta", "gamma"),
    *("tokens", "embedding", "table", "probe"),
}
"""Biases, norms, LayerScale, class token and registers, positions absolute and relative, the query of pooling."""


@pytest.mark.parametrize("family", FAMILIES)
def test_weight_decay_touches_kernels_only(family):
    model = keras_vit.build(f"{family}_mu16", num_classes=3, image_size=32, seed=0)
    settings = TrainSettings(epochs=1, learning_rate=1.0, warmup_epochs=0, weight_decay=0.5, clip_norm=0)
    optimizer = make_optimizer(settings, 1, model, "float32")
    # Ones, so that decay would show on biases too; no gradient, so that nothing else moves.
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    optimizer.apply([np.zeros(v.shape, "float32") for v in model.trainable_variables], model.trainable_variables)
    for variable in model.trainable_variables:
        assert variable.name in {"kernel", *NEVER_DECAYED}
        expected = 0.5 if variable.name == "kernel" else 1.0
        np.testing.assert_allclose(np.asarray(variable), expected, err_msg=variable.path)


RUNS = {
    "siglip_mu4": (1, {"block_1", "norm", "pool", "head"}),
    "beit_mu4": ("none", {"patch_embedding", "class_token", "block_0", "block_1", "norm", "head"}),
    "dinov3_mu4": (1, {"block_1", "norm", "head"}),
    "deit_distilled_mu4": ("backbone", {"head", "head_distilled"}),
    "eva02_mu4": (0, {"norm", "head"}),
}
"""Architecture -> what is frozen, and the layers that learn then."""


QUICK = {"beit_mu4", "siglip_mu4"}
"""Of the default tests."""


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """Name -> its run of `RUNS`."""

    @functools.cache
    def of(name: str):
        changes = {"model.name": name, "model.depth": 2, "train.epochs": 1, "train.freeze": RUNS[name][0]}
        return train(Recipe.from_dict(tiny(tmp_path_factory.mktemp("runs") / name, **changes)), progress=False)

    return of


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in RUNS])
def test_a_run_trains_what_is_not_frozen(name, trained):
    run = trained(name)
    assert np.isfinite(run.history["loss"] + run.history["val_loss"]).all()
    fresh = keras_vit.build(name, num_classes=3, image_size=16, depth=2, init="xavier", seed=run.recipe.seed)
    moved = {
        now.path.split("/")[0]
        for before, now in zip(fresh.weights, run.model.weights, strict=True)
        if not np.array_equal(before, now)
    }
    assert moved == RUNS[name][1]


def test_a_run_is_evaluated_and_predicts_on_the_command_line(trained, tmp_path, capsys):
    run = trained("beit_mu4")
    folder, photos = str(run.folder), tmp_path / "photos"
    assert main(["evaluate", folder, "--out", str(tmp_path / "check")]) == 0
    found = json.loads((tmp_path / "check" / "metrics.json").read_text())["test"]
    assert found == pytest.approx(run.metrics["test"], rel=1e-5)

    examples = load(run.recipe.data.spec).test
    photos.mkdir()
    for index in range(len(examples)):
        (photos / f"{index:02}.png").write_bytes(examples.raw(index))
    capsys.readouterr()
    assert main(["predict", folder, str(photos), "--json", "-"]) == 0
    guesses = [row["top"][0]["name"] for row in json.loads(capsys.readouterr().out)]
    right = np.mean([guess == run.class_names[label] for guess, label in zip(guesses, examples.labels, strict=True)])
    assert right == pytest.approx(run.metrics["test"]["top1"])


class PowerCut(Exception):
    """What ends a run between two epochs."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "precision"), [("beit_mu4", "mixed_bfloat16"), ("dinov3_mu4", "mixed_float16")])
def test_a_resumed_run_equals_an_uninterrupted_one(name, precision, tiny, tmp_path, monkeypatch):
    changes = {"model.name": name, "train.precision": precision, "train.freeze": 1}
    whole = train(Recipe.from_dict(tiny(tmp_path / "whole", **changes)), progress=False)
    assert np.isfinite(whole.history["loss"]).all()

    recipe = Recipe.from_dict(tiny(tmp_path / "cut", **changes))
    begin = ShowProgress.on_epoch_begin

    def cut(self, epoch, logs=None):
        if epoch == 1:
            raise PowerCut
        begin(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(ShowProgress, "on_epoch_begin", cut)
        with pytest.raises(PowerCut):
            train(recipe, progress=False)
    resumed = train(recipe, resume=True, progress=False)
    for figure in ("loss", "val_loss"):
        np.testing.assert_allclose(resumed.history[figure], whole.history[figure], rtol=1e-4)


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_in_half_precision(family, precision, randomize):
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3)).astype("float32")
    targets = keras.utils.to_categorical(np.arange(6) % 3, 3)
    exact, model = (
        keras_vit.build(f"{family}_mu4", num_classes=3, image_size=16, dtype=dtype) for dtype in ("float32", precision)
    )
    randomize(exact)
    model.set_weights(exact.get_weights())
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = tf.reduce_mean(keras.losses.categorical_crossentropy(targets, logits, from_logits=True))
        # What dynamic scaling of the loss comes down to within a few steps from 32768.
        scaled = loss * 256
    expected = np.asarray(exact(images))
    assert np.abs(logits - expected).max() < 0.05 * expected.std()
    for variable, gradient in zip(model.weights, tape.gradient(scaled, model.trainable_weights), strict=True):
        # A sparse gradient that names a row twice would be squared piece by piece in Adam's second moment.
        assert isinstance(gradient, tf.Tensor), variable.path
        assert np.isfinite(gradient).all(), variable.path
        assert np.any(gradient), variable.path

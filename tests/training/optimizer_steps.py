"""Some steps of a small model under an optimizer of the table; run as a program with a list of
cases, on two mirrored devices and on one."""

from __future__ import annotations

import json
import re
import sys

import keras
import numpy as np
import tensorflow as tf

import keras_vit
from keras_vit.training.optimizers import Group, freeze_groups, make_optimizer
from keras_vit.training.settings import TrainSettings
from keras_vit.training.trainer import TrainingModel

RATES = {"adamw": 1e-3, "sgd": 0.02, "lion": 3e-4, "muon": 3e-3, "lamb": 3e-3}
GROUPS = [Group("block_0", rate=0.5), Group("norm1", freeze=True)]
BATCH = 8


def small_model(policy: str = "float32", dropout: float = 0.0) -> keras.Model:
    """A ViT of one block for images of 8 pixels, with its groups frozen."""
    model = keras_vit.build("vit_mu4", num_classes=3, image_size=8, depth=1, seed=0, dtype=policy, dropout=dropout)
    freeze_groups(model, GROUPS)
    return model


def examples(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images and one-hot targets."""
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3)).astype("float32")
    return images, keras.utils.to_categorical(np.arange(count) % 3, 3)


def trained(
    name: str,
    policy: str = "float32",
    micro_batches: int = 1,
    sam: float = 0.0,
    summed: bool = True,
    steps: int = 3,
    dropout: float = 0.0,
    scale: float = 256.0,
    eager: bool = False,
) -> tuple[keras.Model, dict[str, float]]:
    """The model after some steps with clipping, groups and averaging, and the figures of its epoch."""
    model = TrainingModel(small_model(policy, dropout), micro_batches, sam)
    settings = TrainSettings(
        **{"optimizer": name, "learning_rate": RATES[name], "clip_norm": 0.3, "ema": 0.5, "weight_decay": 0.1},
        **{"epochs": 1, "warmup_epochs": 0, "layer_decay": 0.8, "groups": GROUPS},
    )
    optimizer = make_optimizer(settings, 10, model, policy, summed=summed)
    if policy == "mixed_float16":
        optimizer.initial_scale = scale
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False, run_eagerly=eager)
    model.optimizer.build(model.trainable_variables)
    data = examples(BATCH * steps)
    # Not finalized by `fit`, which would put the average in the weights' place.
    optimizer.finalize_variable_values = lambda variables: None
    history = model.fit(*data, batch_size=BATCH, shuffle=False, verbose=0).history
    return model, {figure: values[-1] for figure, values in history.items()}


def noisy(optimizer: str, path: str) -> bool:
    """Whether a variable moves by chance: the keys' bias has no gradient but rounding, and Lion steps by its sign."""
    return optimizer.startswith("lion") and re.search("qkv.bias", path) is not None


def compare(**case) -> None:
    """Fails unless two mirrored devices do what one does."""
    one, figures = trained(**case)
    with tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"]).scope():
        two, shared = trained(**case)
    half = case.get("policy", "float32") == "mixed_float16"
    np.testing.assert_allclose([shared[n] for n in figures], list(figures.values()), rtol=2e-3 if half else 1e-4)
    variables = one.weights + one.optimizer.variables, two.weights + two.optimizer.variables
    for a, b in zip(*variables, strict=True):
        if noisy(case["name"], a.path):
            continue
        np.testing.assert_allclose(a, b, rtol=5e-3 if half else 1e-3, atol=2e-3 if half else 2e-5, err_msg=a.path)
        for copy in getattr(b.value, "values", ()):
            np.testing.assert_array_equal(copy, np.asarray(b), err_msg=f"{b.path} differs between the devices")


if __name__ == "__main__":
    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    for case in json.loads(sys.argv[1]):
        print("comparing", case, file=sys.stderr, flush=True)
        compare(**case)

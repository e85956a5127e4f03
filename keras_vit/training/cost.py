"""What one training step of a recipe costs, measured in a process of its own: `python -m keras_vit.training.cost`."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_vit.errors import InputError
from keras_vit.training.assemble import assemble, open_data
from keras_vit.training.devices import make_strategy, resolve_precision
from keras_vit.training.fit import training_data
from keras_vit.training.flops import forward_graph, peak_of_all, training_multiply_adds
from keras_vit.training.pace import peak_memory
from keras_vit.training.recipe import Recipe


def step_cost(recipe: Recipe, steps: int) -> dict[str, float]:
    """Takes training steps on one batch of the recipe's data, which is made once: the input pipeline does not count.

    Args:
        recipe: all settings.
        steps: that are timed, after one that compiles.

    Returns:
        `step_s` (the median), `images_per_second`, `mfu`, `peak_memory_gb` of the process (or of the GPU), and
        `first_step_s`, from the call of `fit`.

    Raises:
        InputError: anything in the recipe that cannot be used.
    """
    strategy, team = make_strategy(recipe.train.devices)
    policy = resolve_precision(recipe.train.precision)
    peak = peak_of_all(strategy, keras.DTypePolicy(policy).compute_dtype)
    keras.utils.set_random_seed(recipe.seed)
    recipe, data, task = open_data(recipe, progress=False)
    batch_size = recipe.train.batch_size
    # Images are taken several times where there are fewer than a batch of them.
    several = data.train.subset(np.resize(np.arange(len(data.train)), batch_size))
    data = dataclasses.replace(data, train=several)
    with strategy.scope():
        plain, model, _ = assemble(recipe, data, task, strategy, policy, team)
    dataset, _ = training_data(recipe, data, plain, task, team=team)
    batches = tf.data.Dataset.from_tensors(next(iter(dataset))).repeat()
    clock = _Clock()
    begin = time.perf_counter()
    model.fit(batches, steps_per_epoch=steps + 1, callbacks=[clock], verbose=0)
    step, memory = float(np.median(np.diff(clock.moments))), peak_memory() / 1e9
    arithmetic = 2 * training_multiply_adds(plain, forward_graph(plain)) * batch_size
    return {
        "step_s": step,
        "images_per_second": batch_size / step,
        "mfu": arithmetic / step / peak,
        "peak_memory_gb": memory,
        "first_step_s": clock.moments[0] - begin,
    }


class _Clock(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.moments = []

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # waits for the device
        self.moments.append(time.perf_counter())


def _main(recipe: str, steps: str, out: str) -> None:
    try:
        found = step_cost(Recipe.from_dict(json.loads(Path(recipe).read_text())), int(steps))
    except InputError as error:
        found = {"error": str(error)}
    except (tf.errors.ResourceExhaustedError, MemoryError):
        found = {}
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    _main(*sys.argv[1:])

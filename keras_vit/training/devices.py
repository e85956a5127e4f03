"""Which devices train, and in which precision."""

from __future__ import annotations

import re

import tensorflow as tf

from keras_vit.errors import InputError, suggest
from keras_vit.training.team import Team, make_team

PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")


def make_strategy(devices: str) -> tuple[tf.distribute.Strategy, Team]:
    """The distribution strategy for `auto`, `gpu:N`, `cpu:N` or `workers`, and the processes that train together.

    Several devices train under `MirroredStrategy`: each gets an equal share of the batch, and gradients are averaged.
    `cpu:N` makes N logical devices of one processor, which is of use for tests only. `workers` are all devices of
    several processes, by `MultiWorkerMirroredStrategy` (see `make_team`). Call it before any other use of
    TensorFlow's devices.

    Raises:
        InputError: an unknown form, more GPUs than there are, or logical devices asked for too late.
    """
    # Physical devices, because listing logical ones would start TensorFlow and forbid logical processors.
    gpus = tf.config.list_physical_devices("GPU")
    if devices == "workers":
        return make_team()
    if devices == "auto":
        return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy(), Team()
    match = re.fullmatch(r"(gpu|cpu):([1-9]\d*)", devices)
    if not match:
        raise InputError(f"devices is auto, gpu:N, cpu:N or workers, not {devices!r}.")
    kind, count = match[1], int(match[2])
    if kind == "gpu" and len(gpus) < count:
        raise InputError(
            f"{count} GPUs were asked for and TensorFlow sees {len(gpus)}: use devices=auto to train on what is there."
        )
    if count == 1:
        return tf.distribute.OneDeviceStrategy(f"/{kind}:0"), Team()
    if kind == "cpu":
        _split_processor(count)
    return tf.distribute.MirroredStrategy([f"/{kind}:{index}" for index in range(count)]), Team()


def resolve_precision(precision: str) -> str:
    """The Keras dtype policy for `auto`: bfloat16 on GPUs that compute in it, else float16; float32 on a processor.

    Raises:
        InputError: an unknown precision.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r} is not known: {suggest(precision, PRECISIONS)}")
    if precision != "auto":
        return precision
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "float32"
    # Ampere (compute capability 8.0) is the first generation with bfloat16 tensor cores.
    capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
    return "mixed_bfloat16" if min(capabilities) >= (8, 0) else "mixed_float16"


def _split_processor(count: int) -> None:
    processor = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError:
        if len(tf.config.list_logical_devices("CPU")) < count:
            raise InputError(
                f"{count} logical processors can be made only before TensorFlow is first used: ask in a new process."
            ) from None

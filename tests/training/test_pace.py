"""Arithmetic that is counted, peaks that are measured, and the figures made of them."""

from __future__ import annotations

import time

import keras
import pytest
import tensorflow as tf
from peers import declare_torchvision_ops

import keras_vit
from keras_vit.data import Arrivals
from keras_vit.training.flops import forward_graph, multiply_adds, peak_rate, training_multiply_adds
from keras_vit.training.freeze import freeze
from keras_vit.training.optimizers import freeze_groups
from keras_vit.training.optimizers.groups import Group
from keras_vit.training.pace import PACE, Pace


def count(name: str, **settings) -> int:
    return multiply_adds(forward_graph(keras_vit.build(name, **settings)))


def of_a_vit(tokens: int, width: int, depth: int, classes: int, patch: int = 16) -> int:
    """By hand: patches, the four maps of attention with its two products, the two of the MLP, and the classifier."""
    block = 12 * tokens * width**2 + 2 * tokens**2 * width
    return (tokens - 1) * 3 * patch**2 * width + depth * block + width * classes


@pytest.mark.parametrize(("size", "tokens"), [(224, 197), (64, 17)])
def test_a_plain_vit_has_the_products_of_its_formula(size, tokens):
    assert count("vit_ti16", num_classes=10, image_size=size) == of_a_vit(tokens, 192, 12, 10)


@pytest.mark.parametrize(
    ("ours", "timms"),
    [
        ("vit_s16", "vit_small_patch16_224"),
        ("deit_ti16", "deit_tiny_patch16_224"),
        ("dinov2_s14", "vit_small_patch14_dinov2"),
    ],
)
def test_as_many_as_torch_counts(ours, timms):
    declare_torchvision_ops()
    import timm
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    size = 98 if timms.endswith("dinov2") else 96
    timm.layers.set_fused_attn(False)  # torch's counter does not know the processor's fused attention
    model = timm.create_model(timms, num_classes=7, img_size=size).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, size, size))
    # Torch counts a multiplication and an addition as two.
    assert count(ours, num_classes=7, image_size=size) == pytest.approx(counter.get_total_flops() / 2, rel=1e-6)


def test_every_kind_of_product_is_counted():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(5, 3, padding="same")(image)
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.Conv2DTranspose(4, 2, strides=2)(x)
    x = keras.layers.EinsumDense("bhwc,cd->bhwd", (16, 16, 6))(x)
    x = keras.layers.Dense(2)(keras.layers.Flatten()(x))
    expected = 64 * 27 * 5 + 64 * 9 * 5 + 64 * 5 * 4 * 4 + 256 * 4 * 6 + 256 * 6 * 2
    assert multiply_adds(forward_graph(keras.Model(image, x))) == expected


class TestTraining:
    """The arithmetic of a step, by what learns."""

    def ratio(self, change) -> float:
        model = keras_vit.build("vit_ti16", num_classes=3, image_size=32, depth=4)
        change(model)
        graph = forward_graph(model)
        return training_multiply_adds(model, graph) / multiply_adds(graph)

    def test_all_of_it(self):
        assert self.ratio(lambda model: None) == 3

    def test_the_head(self):
        assert self.ratio(lambda model: freeze(model, "backbone")) == pytest.approx(1, rel=1e-3)

    def test_the_last_half(self):
        # Blocks 2 and 3 have both gradients, the others none.
        blocks = of_a_vit(5, 192, 4, 0) - of_a_vit(5, 192, 0, 0)
        whole = of_a_vit(5, 192, 4, 3)
        expected = 1 + (blocks + 2 * 192 * 3) / whole
        assert self.ratio(lambda model: freeze(model, 2)) == pytest.approx(expected, rel=1e-6)

    def test_the_first_layer_alone(self):
        def only_patches(model):
            freeze_groups(model, [Group(match="^(?!patch_embedding)", freeze=True)])

        patches = of_a_vit(5, 192, 0, 0) / of_a_vit(5, 192, 4, 3)
        assert self.ratio(only_patches) == pytest.approx(2 + patches, rel=1e-6)

    @pytest.mark.parametrize("task", ["segmentation", "detection"])
    def test_every_product_belongs_to_a_layer(self, task):
        model = keras_vit.build("deit_ti16", task=task, num_classes=3, image_size=64, depth=4, window=2)
        graph = forward_graph(model)
        assert training_multiply_adds(model, graph) == pytest.approx(3 * multiply_adds(graph))


def test_what_is_recomputed_does_not_count():
    plain = {"num_classes": 3, "image_size": 32, "depth": 2}
    assert count("vit_ti16", **plain, remat="block") == count("vit_ti16", **plain)


def test_the_peak_is_that_of_a_large_product():
    side = 1024
    matrix = tf.random.normal((side, side))
    tf.linalg.matmul(matrix, matrix)
    begin = time.perf_counter()
    for _ in range(5):
        tf.linalg.matmul(matrix, matrix)
    mean = 5 * 2 * side**3 / (time.perf_counter() - begin)
    # The best of several is at least near the mean of others, and no machine is a hundred times its mean.
    assert 0.3 * mean < peak_rate("float32") < 100 * mean


class TestPace:
    def run(self, monkeypatch, steps: list[tuple[float, float]], epochs: int = 1, before_next: float = 0.0):
        """Figures of epochs of steps (seconds of waiting, seconds of work), by a clock of ours."""
        clock = [100.0]
        monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
        arrivals = Arrivals()
        pace = Pace(arrivals, 10, lambda: 3_000_000, 6e9)
        found, index = [], 0
        for epoch in range(epochs):
            pace.on_epoch_begin(epoch)
            for batch, (wait, work) in enumerate(steps):
                pace.on_train_batch_begin(batch)
                clock[0] += wait
                arrivals._note(index)
                clock[0] += work
                pace.on_train_batch_end(batch)
                index += 1
            clock[0] += 1000  # validation
            logs = {}
            pace.on_epoch_end(epoch, logs)
            assert tuple(logs) == PACE
            found.append(logs)
        return pace, found

    def test_first_step_and_validation_do_not_count(self, monkeypatch):
        pace, epochs = self.run(monkeypatch, [(50.0, 30.0), (0.0, 2.0), (0.0, 3.0)], epochs=1)
        assert epochs[0]["images_per_second"] == pytest.approx(20 / 5)
        # Two operations a multiply-add: 4 images/s x 6e6 of 6e9.
        assert epochs[0]["mfu"] == pytest.approx(4 * 6e6 / 6e9)
        assert epochs[0]["waiting"] == 0
        assert epochs[0]["peak_memory_gb"] > 0.1
        (sentence,) = pace.summary(cacheable=True)
        assert sentence.startswith("speed: 4.0 images/s, 0% of the machine's peak (MFU); peak memory ")

    def test_waiting_is_told(self, monkeypatch):
        pace, epochs = self.run(monkeypatch, [(1.0, 1.0), (1.0, 3.0)], epochs=2)
        assert epochs[0]["waiting"] == pytest.approx(0.25)
        assert epochs[1]["waiting"] == pytest.approx(2 / 6)
        assert pace.summary(cacheable=False)[1].endswith("the model waited for images 30% of the time.")
        assert pace.summary(cacheable=True)[1].endswith("of the time; try data.cache=memory.")

    def test_an_epoch_of_the_first_step_alone(self, monkeypatch):
        pace, epochs = self.run(monkeypatch, [(1.0, 4.0)])
        assert epochs[0]["images_per_second"] == pytest.approx(2)
        assert pace.summary(cacheable=True) == ()

    def test_only_validation_was_left(self, monkeypatch):
        _, epochs = self.run(monkeypatch, [])
        assert [epochs[0][name] for name in PACE[:3]] == [0, 0, 0]

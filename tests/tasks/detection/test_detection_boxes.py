"""Overlaps equal torchvision's, and so do their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from keras import ops
from peers import declare_torchvision_ops

from keras_vit.tasks.detection import boxes

declare_torchvision_ops()
import torchvision  # noqa: E402

REFERENCES = {
    "iou": (boxes.iou, torchvision.ops.box_iou),
    "giou": (boxes.giou, torchvision.ops.generalized_box_iou),
    "ciou": (boxes.ciou, torchvision.ops.complete_box_iou),
}


def some(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(-20, 60, (count, 2)), rng.uniform(0.5, 50, (count, 2))
    return np.concatenate([corner, corner + size], -1).astype("float32")


@pytest.mark.parametrize("name", REFERENCES)
def test_every_pair_equals_torchvision(name):
    ours, theirs = REFERENCES[name]
    one, other = some(0, 40), some(1, 50)
    one[:3] = other[:3]
    expected = theirs(torch.from_numpy(one), torch.from_numpy(other)).numpy()
    found = ops.convert_to_numpy(ours(ops.convert_to_tensor(one)[:, None], ops.convert_to_tensor(other)))
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("name", ["giou", "ciou"])
def test_gradients_equal_torchvision(name):
    tf = pytest.importorskip("tensorflow")
    one, other = some(2, 60), some(3, 60)
    variable = tf.Variable(one)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(1 - boxes.OVERLAPS[name](variable, tf.constant(other)))
    leaf = torch.tensor(one, requires_grad=True)
    losses = {"giou": torchvision.ops.generalized_box_iou_loss, "ciou": torchvision.ops.complete_box_iou_loss}
    losses[name](leaf, torch.from_numpy(other), reduction="sum").backward()
    np.testing.assert_allclose(tape.gradient(loss, variable), leaf.grad.numpy(), atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("name", REFERENCES)
def test_boxes_without_area_give_numbers(name):
    flat, inside_out = np.array([[5, 5, 5, 5]], "float32"), np.array([[9, 9, 2, 2]], "float32")
    for pair in ((flat, flat), (flat, some(0, 1)), (inside_out, some(0, 1)), (inside_out, flat)):
        assert np.isfinite(ops.convert_to_numpy(REFERENCES[name][0](*map(ops.convert_to_tensor, pair)))).all()
    np.testing.assert_array_equal(ops.convert_to_numpy(boxes.area(ops.convert_to_tensor(inside_out))), [0])

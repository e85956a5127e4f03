"""The pipelines of masks and boxes: forms, order, and that training batches repeat and resume exactly."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.data import (
    BOXES,
    CLASSES,
    IGNORE,
    MASKS,
    Augment,
    Examples,
    Masks,
    eval_dataset,
    image_dataset,
    load,
    train_dataset,
)
from keras_vit.data.boxes import make_boxes
from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

RECORD = Preprocessing((24, 32), crop=1.0, fit="pad")
STRONG = Augment(scale=(0.5, 2.0), color=0.4)
N = 11
VALUES = {0: 0, 1: 1, 2: 2, 255: IGNORE}


def masked() -> Examples:
    rng = np.random.default_rng(0)
    masks = [rng.choice(list(VALUES), (20, 20)) for _ in range(N)]
    return Examples(labels=Masks(masks, VALUES), images=rng.integers(0, 256, (N, 20, 20, 3), np.uint8))


def boxed() -> Examples:
    """Image i has i % 4 boxes, and every third one a crowd besides."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(N):
        low = rng.integers(0, 10, (i % 4, 2))
        found = [(*a, *(a + rng.integers(4, 10, 2)), j % 3, False, None) for j, a in enumerate(low)]
        rows.append(found + ([(0, 0, 20, 20, 2, True, None)] if i % 3 == 0 else []))
    return Examples(labels=make_boxes(rows), images=rng.integers(0, 256, (N, 20, 20, 3), np.uint8))


KINDS = {"masks": (MASKS, masked), "boxes": (BOXES, boxed)}


def batches(kind, count, *, augment=STRONG, seed=5, start_epoch=0):
    labels, make = KINDS[kind]
    dataset, steps = train_dataset(
        make(), RECORD, augment, labels=labels, num_classes=3, batch_size=4, seed=seed, start_epoch=start_epoch
    )
    found = list(dataset.take(count).as_numpy_iterator())
    return np.stack([images for images, _ in found]), np.stack([targets for _, targets in found]), steps


@pytest.mark.parametrize(
    ("kind", "spec"),
    [("masks", tf.TensorSpec((4, 24, 32), tf.int32)), ("boxes", tf.TensorSpec((4, 3, 5), tf.float32))],
)
def test_forms(kind, spec):
    labels, make = KINDS[kind]
    dataset, steps = train_dataset(make(), RECORD, STRONG, labels=labels, num_classes=3, batch_size=4, seed=0)
    assert steps == 2
    assert dataset.element_spec == (tf.TensorSpec((4, 24, 32, 3)), spec)
    shown = eval_dataset(make(), RECORD, labels=labels, num_classes=3, batch_size=4)
    assert shown.element_spec[1].shape[1:] == spec.shape[1:]
    assert shown.element_spec[1].dtype == spec.dtype


@pytest.mark.parametrize("kind", KINDS)
def test_runs_repeat_resume_and_differ_by_seed(kind):
    images, targets, steps = batches(kind, 8)
    for found, again in zip((images, targets), batches(kind, 8), strict=False):
        np.testing.assert_array_equal(found, again)
    for found, resumed in zip((images, targets), batches(kind, 8 - 2 * steps, start_epoch=2), strict=False):
        np.testing.assert_array_equal(found[2 * steps :], resumed)
    assert not np.array_equal(images, batches(kind, 8, seed=6)[0])
    assert not np.array_equal(targets, batches(kind, 8, seed=6)[1])


def test_masks_at_evaluation():
    examples = masked()
    shown = list(eval_dataset(examples, RECORD, labels=MASKS, num_classes=3, batch_size=4).as_numpy_iterator())
    masks = np.concatenate([targets for _, targets in shown])
    assert [len(targets) for _, targets in shown] == [4, 4, 3]
    # 20 x 20 pixels in 24 x 32: the input's left 24 columns.
    rows = np.floor((np.arange(24) + 0.5) * 20 / 24).astype(int)
    for i, mask in enumerate(masks):
        np.testing.assert_array_equal(mask[:, :24], examples.labels.read(i)[np.ix_(rows, rows)])
        assert (mask[:, 24:] == IGNORE).all()


def test_boxes_at_evaluation():
    examples = boxed()
    shown = eval_dataset(examples, RECORD, labels=BOXES, num_classes=3, batch_size=N)
    ((_, targets),) = shown.as_numpy_iterator()
    for i, rows in enumerate(targets):
        count = i % 4
        np.testing.assert_allclose(rows[:count, :4], examples.labels.targets(i)[:, :4] * 1.2, rtol=1e-5)
        assert rows[:count, 4].tolist() == list(range(count))
        np.testing.assert_array_equal(rows[count:], np.tile([0, 0, 0, 0, -1], (3 - count, 1)))


def test_data_without_any_box_has_one_empty_row():
    examples = Examples(labels=make_boxes([[], []]), images=np.zeros((2, 8, 8, 3), np.uint8))
    ((_, targets),) = eval_dataset(examples, RECORD, labels=BOXES, num_classes=3, batch_size=2).as_numpy_iterator()
    np.testing.assert_array_equal(targets, np.broadcast_to([0, 0, 0, 0, -1], (2, 1, 5)))


def test_images_alone():
    examples = boxed()
    alone = np.concatenate(list(image_dataset(examples, RECORD, batch_size=4).as_numpy_iterator()))
    ((images, _),) = eval_dataset(examples, RECORD, labels=BOXES, num_classes=3, batch_size=N).as_numpy_iterator()
    np.testing.assert_array_equal(alone, images)
    with pytest.raises(InputError, match="no images"):
        image_dataset(examples.subset([]), RECORD, batch_size=4)


def test_settings_of_another_task():
    for kind in KINDS:
        with pytest.raises(InputError, match=r"augment\.mixup is for classification only"):
            batches(kind, 1, augment=Augment(mixup=0.2))
    examples = Examples(labels=np.zeros(4), images=np.zeros((4, 8, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"augment\.scale is for masks and boxes"):
        train_dataset(examples, RECORD, STRONG, labels=CLASSES, num_classes=2, batch_size=2, seed=0)


def test_the_crop_of_classification_does_nothing():
    plain, _, _ = batches("masks", 2, augment=Augment(flip=False))
    cropped, _, _ = batches("masks", 2, augment=Augment(crop_scale=(0.1, 0.2), flip=False))
    np.testing.assert_array_equal(plain, cropped)


@pytest.mark.parametrize("kind", KINDS)
def test_photos_repeat(shared_data, kind):
    labels, spec, classes = {"masks": (MASKS, "camvid", 11), "boxes": (BOXES, "bccd", 3)}[kind]
    examples = load(str(shared_data / spec), labels=labels).val.subset(range(24))
    record = Preprocessing((96, 128), crop=1.0, fit="pad")

    def first(start_epoch, skip):
        dataset, steps = train_dataset(
            examples, record, STRONG, labels=labels, num_classes=classes, batch_size=24, seed=1, start_epoch=start_epoch
        )
        return next(dataset.skip(skip * steps).as_numpy_iterator())

    resumed = first(1, 0)
    for again, straight in zip(resumed, first(0, 1), strict=True):
        np.testing.assert_array_equal(again, straight)
    found = resumed[1] if kind == "masks" else resumed[1][..., 4]
    assert (found.min(), found.max()) == (-1, classes - 1)

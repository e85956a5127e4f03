"""The pipelines: forms and order, and that training batches repeat and resume exactly."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.data import Augment, Examples, batch_indices, eval_dataset, load, train_dataset
from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

RECORD = Preprocessing((24, 32), crop=0.9)
STRONG = Augment(rotate=10, shift=1, randaugment=2, erasing=0.5, mixup=0.3, cutmix=1.0)


def arrays(n=23, size=(20, 20), channels=3) -> Examples:
    images = np.random.default_rng(0).integers(0, 256, (n, *size, channels), np.uint8)
    return Examples(labels=np.arange(n) % 3, images=images)


def numbered(n: int) -> Examples:
    """Images that say which they are."""
    return Examples(
        labels=np.arange(n) % 3, images=np.arange(n, dtype=np.uint8)[:, None, None] + np.zeros((1, 4, 4), np.uint8)
    )


def batches(examples, count, *, augment=STRONG, seed=5, batch_size=5, record=RECORD, **where):
    dataset, steps = train_dataset(examples, record, augment, num_classes=3, batch_size=batch_size, seed=seed, **where)
    found = list(dataset.take(count).as_numpy_iterator())
    return np.stack([images for images, _ in found]), np.stack([labels for _, labels in found]), steps


def test_forms():
    images, labels, steps = batches(arrays(), 3)
    assert steps == 4
    assert images.shape == (3, 5, 24, 32, 3)
    assert labels.shape == (3, 5, 3)
    assert images.dtype == labels.dtype == np.float32
    dataset, _ = train_dataset(arrays(), RECORD, STRONG, num_classes=3, batch_size=5, seed=0)
    assert dataset.element_spec == (tf.TensorSpec((5, 24, 32, 3)), tf.TensorSpec((5, 3)))


def test_runs_repeat_and_seeds_differ():
    images, labels, _ = batches(arrays(), 9)
    again_images, again_labels, _ = batches(arrays(), 9)
    np.testing.assert_array_equal(images, again_images)
    np.testing.assert_array_equal(labels, again_labels)
    assert not np.array_equal(images, batches(arrays(), 9, seed=6)[0])


def test_resumed_run_sees_the_same_batches():
    images, labels, steps = batches(arrays(), 16)
    resumed_images, resumed_labels, _ = batches(arrays(), 16 - 2 * steps, start_epoch=2)
    np.testing.assert_array_equal(resumed_images, images[2 * steps :])
    np.testing.assert_array_equal(resumed_labels, labels[2 * steps :])
    assert not np.array_equal(images[:steps], images[steps : 2 * steps])


@pytest.mark.parametrize("start_step", [1, 3, 4])
def test_a_run_resumed_inside_an_epoch_sees_the_same_batches(start_step):
    images, labels, steps = batches(arrays(), 12)
    first = steps + start_step
    resumed_images, resumed_labels, same = batches(arrays(), 12 - first, start_epoch=1, start_step=start_step)
    np.testing.assert_array_equal(resumed_images, images[first:])
    np.testing.assert_array_equal(resumed_labels, labels[first:])
    assert same == steps


@pytest.mark.parametrize("start", [(0, 0), (1, 4)])
def test_a_batch_can_be_named_without_reading_it(start):
    record, plain = Preprocessing((4, 4), crop=1.0), Augment(crop_scale=(1.0, 1.0), flip=False)
    begin = dict(zip(("start_epoch", "start_step"), start, strict=True))
    images, _, steps = batches(numbered(23), 6, augment=plain, record=record, **begin)
    for number, batch in enumerate(images, start[0] * steps + start[1]):
        epoch, step = divmod(number, steps)
        indices = batch_indices(23, batch_size=5, seed=5, epoch=epoch, step=step)
        assert batch[:, 0, 0, 0].tolist() == indices
    assert batch_indices(23, batch_size=5, seed=5, epoch=0, step=steps) == []


def test_workers_share_the_batches_of_one_process():
    strong = dataclasses.replace(STRONG, mixup=0, cutmix=0)
    where = {"augment": strong, "batch_size": 6, "start_epoch": 1, "start_step": 1}
    images, labels, steps = batches(arrays(), 4, **where)
    shares = [batches(arrays(), 4, share=(rank, 3), **where) for rank in range(3)]
    np.testing.assert_array_equal(np.concatenate([part for part, _, _ in shares], 1), images)
    np.testing.assert_array_equal(np.concatenate([part for _, part, _ in shares], 1), labels)
    assert {same for _, _, same in shares} == {steps}


def test_an_epoch_shows_each_image_once_in_a_new_order():
    plain = Augment(crop_scale=(1, 1), flip=False)
    record = Preprocessing((4, 4), (0.5,), (0.5,), crop=1.0)
    images, _, steps = batches(numbered(20), 12, augment=plain, record=record)
    orders = images[..., 0, 0, 0].reshape(3, 20)
    assert steps == 4
    for order in orders:
        assert sorted(order) == list(range(20))
    assert len({tuple(order) for order in orders}) == 3


def test_small_data_makes_small_batches():
    images, _, steps = batches(arrays(3), 2, batch_size=64)
    assert (images.shape[1], steps) == (3, 1)


def test_eval_keeps_order_and_remainder():
    examples = numbered(7)
    record = Preprocessing((4, 4), (0.5,), (0.5,), crop=1.0)
    found = list(eval_dataset(examples, record, num_classes=3, batch_size=4).as_numpy_iterator())
    assert [len(images) for images, _ in found] == [4, 3]
    images, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
    np.testing.assert_array_equal(images[:, 0, 0, 0], np.arange(7))
    np.testing.assert_array_equal(labels.argmax(1), examples.labels)


def test_squashed_images_lose_nothing_at_the_sides():
    images = np.zeros((2, 20, 60, 3), np.uint8)
    images[:, :, :10] = 255
    examples = Examples(labels=np.arange(2), images=images)

    def view(fit):
        record = Preprocessing((24, 24), crop=1.0, interpolation="bilinear", fit=fit)
        plain = Augment(crop_scale=(1, 1), flip=False)
        (shown, _), *_ = eval_dataset(examples, record, num_classes=2, batch_size=2)
        learned, _, _ = batches(examples, 1, augment=plain, batch_size=2, record=record)
        np.testing.assert_array_equal(learned[0], shown)
        return shown.numpy()

    assert view("crop").max() == 0
    np.testing.assert_array_equal(view("squash")[:, :, :3], 255)
    np.testing.assert_array_equal(view("squash")[:, :, 5:], 0)


def test_stores_give_the_same_pixels(tmp_path, make_images):
    paths = [str(path) for path in make_images(tmp_path, 6, extension="png")]
    from_files = Examples(labels=np.zeros(6), paths=paths)
    contents = [from_files.raw(i) for i in range(6)]
    from_bytes = Examples(labels=np.zeros(6), encoded=contents)
    subset = Examples(labels=np.zeros(6), encoded=contents).subset([4, 1])

    def pixels(examples):
        return next(iter(eval_dataset(examples, RECORD, num_classes=2, batch_size=6)))[0].numpy()

    np.testing.assert_array_equal(pixels(from_files), pixels(from_bytes))
    np.testing.assert_array_equal(pixels(subset), pixels(from_files)[[4, 1]])
    assert subset.names == ["index 4", "index 1"]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stored", [None, 1, 3, 4])
def test_channels_follow_the_record(channels, stored):
    shape = (4, 8, 8) if stored is None else (4, 8, 8, stored)
    examples = Examples(labels=np.arange(4) % 2, images=np.full(shape, 9, np.uint8))
    record = Preprocessing((8, 8), (0.5,) * channels, (0.5,) * channels, crop=1.0)
    (images, _), *_ = eval_dataset(examples, record, num_classes=2, batch_size=4)
    assert images.shape == (4, 8, 8, channels)
    assert np.unique(images) == [9]


def test_wrong_arguments():
    with pytest.raises(InputError, match="batch_size"):
        eval_dataset(arrays(), RECORD, num_classes=3, batch_size=0)
    with pytest.raises(InputError, match="no images"):
        eval_dataset(arrays(0), RECORD, num_classes=3, batch_size=4)
    with pytest.raises(InputError, match="no images"):
        train_dataset(arrays(0), RECORD, Augment(), num_classes=3, batch_size=4, seed=0)
    with pytest.raises(InputError, match="start_step must be from 0 to the epoch's 4 steps, not 5"):
        batches(arrays(), 1, start_step=5)
    with pytest.raises(InputError, match="A batch of 5 cannot be shared by 2 workers"):
        batches(arrays(), 1, share=(0, 2))
    with pytest.raises(InputError, match="share must be"):
        batches(arrays(), 1, share=(5, 5))


def test_photos_repeat(shared_data):
    data = load(str(shared_data / "hymenoptera"))
    record = Preprocessing((64, 64))

    def first(start_epoch, skip):
        dataset, steps = train_dataset(
            data.train, record, STRONG, num_classes=2, batch_size=64, seed=1, start_epoch=start_epoch
        )
        return next(dataset.skip(skip * steps).as_numpy_iterator())

    for resumed, straight in zip(first(2, 0), first(0, 2), strict=True):
        np.testing.assert_array_equal(resumed, straight)

"""tf.data pipelines: training batches that repeat exactly, and evaluation batches in order."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from keras_vit.data import geometry
from keras_vit.data.augment import Augment, ImageAugmenter
from keras_vit.data.decode import decode, to_channels
from keras_vit.data.examples import Examples
from keras_vit.data.mixing import batch_mixer
from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

# Each use of randomness draws from its own stream of the seed.
_SHUFFLE, _IMAGE, _BATCH = range(3)


def train_dataset(
    examples: Examples,
    preprocessing: Preprocessing,
    augment: Augment,
    *,
    num_classes: int,
    batch_size: int,
    seed: int,
    start_epoch: int = 0,
) -> tuple[tf.data.Dataset, int]:
    """Augmented, shuffled training batches without end.

    A batch is a pure function of (seed, epoch, position): runs repeat, and a run resumed with `start_epoch=e` sees the
    batches that the uninterrupted run would have seen from epoch e on. Images are prepared in parallel all the same,
    because nothing keeps a random state.

    Args:
        examples: the training split.
        preprocessing: the model's record.
        augment: what happens to the images.
        num_classes: length C of the one-hot labels.
        batch_size: images per batch B; made smaller when there are fewer images.
        seed: fixes order and augmentation.
        start_epoch: the epoch, from 0, whose batches come first.

    Returns:
        The dataset of (images (B, H, W, channels) float32 0..255, labels (B, C) float32), and the number of batches
        per epoch; images that do not fill a last batch wait for another epoch's order.

    Raises:
        InputError: there are no examples, or batch_size is below 1.
    """
    batch_size = _checked_batch_size(examples, batch_size)
    steps = len(examples) // batch_size
    streams = tf.random.split(tf.constant([seed, 0], tf.int64), 3)
    read = _reader(examples, preprocessing.channels)
    augmenter = ImageAugmenter(augment, preprocessing)
    mix = batch_mixer(augment)

    def epoch_order(epoch):
        order_seed = tf.random.fold_in(streams[_SHUFFLE], epoch)
        order = tf.random.experimental.stateless_shuffle(tf.range(len(examples)), order_seed)
        order = order[: steps * batch_size]
        return tf.data.Dataset.from_tensor_slices((tf.fill(tf.shape(order), epoch), order))

    def prepare(epoch, index):
        image_seed = tf.random.fold_in(tf.random.fold_in(streams[_IMAGE], epoch), index)
        image, label = read(index)
        return augmenter(image, image_seed), tf.one_hot(label, num_classes), epoch, index

    def finish(images, labels, epochs, indices):
        if mix is None:
            return images, labels
        return mix(images, labels, tf.random.fold_in(tf.random.fold_in(streams[_BATCH], epochs[0]), indices[0]))

    dataset = tf.data.Dataset.range(start_epoch, tf.int64.max).flat_map(epoch_order)
    dataset = dataset.map(prepare, tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.batch(batch_size, drop_remainder=True)
    dataset = dataset.map(finish, tf.data.AUTOTUNE, deterministic=True)
    return dataset.prefetch(tf.data.AUTOTUNE), steps


def eval_dataset(
    examples: Examples, preprocessing: Preprocessing, *, num_classes: int, batch_size: int
) -> tf.data.Dataset:
    """All examples once, in order, fitted to the model's input as the record says.

    Args:
        examples: a split.
        preprocessing: the model's record.
        num_classes: length C of the one-hot labels.
        batch_size: images per batch; the last batch holds what remains.

    Returns:
        A finite dataset of (images (B, H, W, channels) float32 0..255, labels (B, C) float32).

    Raises:
        InputError: there are no examples, or batch_size is below 1.
    """
    batch_size = _checked_batch_size(examples, batch_size)
    read = _reader(examples, preprocessing.channels)

    def prepare(index):
        image, label = read(index)
        return geometry.resize_and_crop(image, preprocessing), tf.one_hot(label, num_classes)

    dataset = tf.data.Dataset.range(len(examples)).map(prepare, tf.data.AUTOTUNE, deterministic=True)
    return dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _checked_batch_size(examples: Examples, batch_size: int) -> int:
    if len(examples) == 0:
        raise InputError("This split holds no images: give it at least one.")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}.")
    return min(batch_size, len(examples))


def _reader(examples: Examples, channels: int) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """A graph function from an index to its (H, W, channels) uint8 image and its label."""
    # Everything here belongs to the input pipeline, also when the model runs on another device.
    with tf.device("CPU:0"):
        labels = tf.constant(examples.labels)
        if examples.images is not None:
            pixels = examples.images if examples.images.ndim == 4 else examples.images[..., None]
            images = tf.constant(pixels)
            return lambda index: (to_channels(tf.gather(images, index), channels), tf.gather(labels, index))
        if examples.paths is not None:
            paths = tf.constant(examples.paths)
            return lambda index: (
                decode(tf.io.read_file(tf.gather(paths, index)), channels),
                tf.gather(labels, index),
            )

    def fetch(index):
        encoded = tf.numpy_function(lambda i: examples.encoded[int(i)], [index], tf.string, stateful=False)
        return decode(tf.ensure_shape(encoded, ()), channels), tf.gather(labels, index)

    return fetch

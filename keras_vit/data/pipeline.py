"""tf.data pipelines: training batches that repeat exactly, and evaluation batches in order."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from keras_vit.data import geometry
from keras_vit.data.augment import Augment
from keras_vit.data.decode import decode, decode_part, to_channels
from keras_vit.data.decoded import Decoded
from keras_vit.data.examples import Examples
from keras_vit.data.kinds import CLASSES, LabelKind
from keras_vit.data.views import Views
from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

# Each use of randomness draws from its own stream of the seed.
_SHUFFLE, _IMAGE, _BATCH = range(3)


def train_dataset(
    examples: Examples,
    preprocessing: Preprocessing,
    augment: Augment,
    *,
    labels: LabelKind = CLASSES,
    num_classes: int,
    batch_size: int,
    seed: int,
    start_epoch: int = 0,
    start_step: int = 0,
    share: tuple[int, int] = (0, 1),
    decoded: Decoded | None = None,
) -> tuple[tf.data.Dataset, int]:
    """Augmented, shuffled training batches without end.

    A batch is a pure function of (seed, epoch, position): runs repeat, and a run resumed with `start_epoch=e` and
    `start_step=s` sees the batches that the uninterrupted run would have seen from there on. Images are prepared in
    parallel all the same, because nothing keeps a random state.

    Args:
        examples: the training split.
        preprocessing: the model's record.
        augment: what happens to the images.
        labels: the kind of the examples' labels.
        num_classes: number of classes C.
        batch_size: images per batch B; made smaller when there are fewer images.
        seed: fixes order and augmentation.
        start_epoch: the epoch, from 0, whose batches come first.
        start_step: how many batches of that epoch are left out; nothing of them is read.
        share: (rank, count) of one of several workers, who gets rows rank * B / count .. (rank + 1) * B / count of each
            batch, so that together they see the batches of one process. MixUp and CutMix mix within a share.
        decoded: the examples' pixels, from `decode_all`, instead of their files; the same batches as without where
            it kept the images' size.

    Returns:
        The dataset of (images (B, H, W, channels) float32 0..255, targets), and the number of batches per epoch; images
        that do not fill a last batch wait for another epoch's order. Targets are one-hot classes (B, C) float32; or
        masks (B, H, W) int32, class or IGNORE; or boxes (B, M, 5) float32: x0, y0, x1, y1 in pixels of the model's
        input and class, where M is the largest number in the split and unused rows have class -1.

    Raises:
        InputError: there are no examples, batch_size is below 1, the epoch has no such step, the batch cannot be shared
            so, or `augment` does not suit the labels.
    """
    batch_size = _checked_batch_size(examples, batch_size)
    steps = len(examples) // batch_size
    if not 0 <= start_step <= steps:
        raise InputError(f"start_step must be from 0 to the epoch's {steps} steps, not {start_step}.")
    rows = _shared_rows(batch_size, *share)
    streams = _streams(seed)
    read = _decoded_reader(decoded) if decoded else _reader(examples, preprocessing.channels)
    views = _views(labels, examples, preprocessing, num_classes)
    view, part, mix = views.learned(augment), views.part(augment), views.mixed(augment)

    def epoch_order(epoch):
        first = tf.where(epoch == start_epoch, start_step, 0)
        order = _order(len(examples), streams[_SHUFFLE], epoch)[first * batch_size : steps * batch_size]
        order = tf.reshape(tf.reshape(order, (-1, batch_size))[:, rows], [-1])
        return tf.data.Dataset.from_tensor_slices((tf.fill(tf.shape(order), epoch), order))

    def prepare(epoch, index):
        image_seed = tf.random.fold_in(tf.random.fold_in(streams[_IMAGE], epoch), index)
        image, target = view(read(index, part and (lambda shape: part(shape, image_seed))), index, image_seed)
        return image, target, epoch, index

    def finish(images, targets, epochs, indices):
        if mix is None:
            return images, targets
        return mix(images, targets, tf.random.fold_in(tf.random.fold_in(streams[_BATCH], epochs[0]), indices[0]))

    dataset = tf.data.Dataset.range(start_epoch, tf.int64.max).flat_map(epoch_order)
    dataset = dataset.map(prepare, tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.batch(rows.stop - rows.start, drop_remainder=True)
    dataset = dataset.map(finish, tf.data.AUTOTUNE, deterministic=True)
    return dataset.prefetch(tf.data.AUTOTUNE), steps


def batch_indices(n: int, *, batch_size: int, seed: int, epoch: int, step: int) -> list[int]:
    """Which examples are in one batch of `train_dataset`; nothing of them is read.

    Args:
        n: number of training examples.
        batch_size: images per batch, as given to `train_dataset`.
        seed: likewise.
        epoch: from 0.
        step: the batch's place in the epoch, from 0; none are in the place after the last.

    Returns:
        Their indices, in the batch's order.
    """
    batch_size = min(batch_size, n)
    with tf.device("CPU:0"):
        order = _order(n, _streams(seed)[_SHUFFLE], tf.constant(epoch, tf.int64))[: n // batch_size * batch_size]
    return order[step * batch_size : (step + 1) * batch_size].numpy().tolist()


def eval_dataset(
    examples: Examples,
    preprocessing: Preprocessing,
    *,
    labels: LabelKind = CLASSES,
    num_classes: int,
    batch_size: int,
) -> tf.data.Dataset:
    """All examples once, in order, fitted to the model's input as the record says.

    Args:
        examples: a split.
        preprocessing: the model's record.
        labels: the kind of the examples' labels.
        num_classes: number of classes C.
        batch_size: images per batch; the last batch holds what remains.

    Returns:
        A finite dataset of (images (B, H, W, channels) float32 0..255, targets); targets as in `train_dataset`.

    Raises:
        InputError: there are no examples, or batch_size is below 1.
    """
    batch_size = _checked_batch_size(examples, batch_size)
    read, views = _reader(examples, preprocessing.channels), _views(labels, examples, preprocessing, num_classes)
    return _in_order(lambda index: views.shown(read(index), index), len(examples), batch_size)


def image_dataset(examples: Examples, preprocessing: Preprocessing, *, batch_size: int) -> tf.data.Dataset:
    """All images once, in order, fitted to the model's input as the record says; labels are not looked at.

    Args:
        examples: any images.
        preprocessing: the model's record.
        batch_size: images per batch; the last batch holds what remains.

    Returns:
        A finite dataset of images (B, H, W, channels) float32 0..255.

    Raises:
        InputError: there are no examples, or batch_size is below 1.
    """
    batch_size = _checked_batch_size(examples, batch_size)
    read = _reader(examples, preprocessing.channels)
    return _in_order(lambda index: geometry.resize_and_crop(read(index), preprocessing), len(examples), batch_size)


def _streams(seed: int) -> tf.Tensor:
    return tf.random.split(tf.constant([seed, 0], tf.int64), 3)


def _order(n: int, stream: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
    return tf.random.experimental.stateless_shuffle(tf.range(n), tf.random.fold_in(stream, epoch))


def _in_order(prepare: Callable, n: int, batch_size: int) -> tf.data.Dataset:
    dataset = tf.data.Dataset.range(n).map(prepare, tf.data.AUTOTUNE, deterministic=True)
    return dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _views(labels: LabelKind, examples: Examples, preprocessing: Preprocessing, num_classes: int) -> Views:
    # Everything here belongs to the input pipeline, also when the model runs on another device.
    with tf.device("CPU:0"):
        return labels.views(examples.labels, preprocessing, num_classes)


def _checked_batch_size(examples: Examples, batch_size: int) -> int:
    if len(examples) == 0:
        raise InputError("This split holds no images: give it at least one.")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}.")
    return min(batch_size, len(examples))


def _shared_rows(batch_size: int, rank: int, count: int) -> slice:
    if not 0 <= rank < count:
        raise InputError(f"share must be (rank, count) with a rank from 0 to count - 1, not {(rank, count)}.")
    if batch_size % count:
        raise InputError(
            f"A batch of {batch_size} cannot be shared by {count} workers: make batch_size a multiple of {count}."
        )
    size = batch_size // count
    return slice(rank * size, (rank + 1) * size)


def _reader(examples: Examples, channels: int) -> Callable[..., tf.Tensor]:
    """A graph function from an index, and maybe a function that chooses a box (see `decode_part`), to the (H, W,
    channels) uint8 image or the part of it."""
    with tf.device("CPU:0"):
        if examples.images is not None:
            pixels = examples.images if examples.images.ndim == 4 else examples.images[..., None]
            images = tf.constant(pixels)
            return lambda index, choose=None: to_channels(_cut(tf.gather(images, index), choose), channels)
        if examples.paths is not None:
            paths = tf.constant(examples.paths)
            return lambda index, choose=None: _decode(tf.io.read_file(tf.gather(paths, index)), choose, channels)

    def fetch(index, choose=None):
        encoded = tf.numpy_function(lambda i: examples.encoded[int(i)], [index], tf.string, stateful=False)
        return _decode(tf.ensure_shape(encoded, ()), choose, channels)

    return fetch


def _decoded_reader(decoded: Decoded) -> Callable[..., tf.Tensor]:
    """The same function as `_reader`'s, for pixels that are there."""
    with tf.device("CPU:0"):
        shapes = tf.constant(decoded.shapes)

    def fetch(index, choose=None):
        shape = tf.gather(shapes, index)
        begin, size = choose(shape) if choose else (tf.zeros(2, tf.int32), shape)
        pixels = tf.numpy_function(decoded.part, [index, begin, size], tf.uint8, stateful=False)
        return tf.ensure_shape(pixels, (None, None, decoded.channels))

    return fetch


def _decode(encoded: tf.Tensor, choose: Callable | None, channels: int) -> tf.Tensor:
    return decode_part(encoded, choose, channels) if choose else decode(encoded, channels)


def _cut(image: tf.Tensor, choose: Callable | None) -> tf.Tensor:
    if choose is None:
        return image
    begin, size = choose(tf.shape(image)[:2])
    part = tf.slice(image, tf.concat([begin, [0]], 0), tf.concat([size, [image.shape[-1]]], 0))
    return tf.ensure_shape(part, (None, None, image.shape[-1]))

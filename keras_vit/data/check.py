"""The pre-flight check: every image is read and decoded once before training starts, and hashed on the way."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_vit.data.decode import decode
from keras_vit.data.examples import Examples, with_digests
from keras_vit.data.labels import Labels, digest, says
from keras_vit.data.threads import in_threads
from keras_vit.errors import InputError

_SHOWN = 3


def preflight(
    splits: dict[str, Examples],
    *,
    skip_bad: bool,
    progress: bool,
    inspect: Callable[[np.ndarray | Labels, int, int, int], str | None] | None = None,
) -> tuple[dict[str, Examples], list[str]]:
    """Reads and decodes every image with the pipeline's own decoder, in threads.

    Args:
        splits: examples by split name.
        skip_bad: leave images out that are unreadable or wrongly labelled, instead of failing.
        progress: show a progress bar when it takes longer than a second.
        inspect: from (labels, index, height, width) to what is wrong with that image's label, or None; without it
            only images are looked at.

    Returns:
        The splits with the digest of each image and without bad ones, and notes on what was left out.

    Raises:
        InputError: an image is empty, damaged, of no known format or too large, or its label does not fit it, and
            `skip_bad` is off.
    """
    items = [(examples, i) for examples in splits.values() for i in range(len(examples))]
    inspected = in_threads(lambda chunk: _inspect_chunk(chunk, inspect), items, "Checking images", progress)
    checked, bad = {}, []
    for split, examples in splits.items():
        reports = [next(inspected) for _ in range(len(examples))]
        digests, problems = [digest for digest, _ in reports], [problem for _, problem in reports]
        bad += [f"{name} ({problem})" for name, problem in zip(examples.names, problems, strict=True) if problem]
        good = [i for i, problem in enumerate(problems) if not problem]
        checked[split] = with_digests(examples, digests)
        if len(good) < len(examples):
            checked[split] = checked[split].subset(good)
    if not bad:
        return checked, []
    listed = ", ".join(bad[:_SHOWN]) + (f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else "")
    count = f"{len(bad)} image{'s' if len(bad) > 1 else ''} cannot be used"
    if not skip_bad:
        raise InputError(f"{count}: {listed}; mend or remove the files, or leave them out with --skip-bad.")
    return checked, [f"{count} and {'were' if len(bad) > 1 else 'was'} left out: {listed}."]


def unreadable(examples: Examples) -> list[str]:
    """The names of images that cannot be read or decoded (any more), each with what is wrong."""
    items = [(examples, index) for index in range(len(examples))]
    reports = in_threads(lambda chunk: _inspect_chunk(chunk, None), items, "Checking images")
    return [f"{name} ({problem})" for name, (_, problem) in zip(examples.names, reports, strict=True) if problem]


def leakage(splits: dict[str, Examples], class_names: list[str]) -> list[str]:
    """Notes on images whose very bytes are in two splits, or carry two labels.

    Args:
        splits: checked examples by split name, `train` first.
        class_names: the name of each label.
    """
    notes = []
    seen: dict[str, tuple[str, int]] = {}
    across: dict[tuple[str, str], list[tuple[str, str]]] = {}
    disputed = []
    for split, examples in splits.items():
        for index, image in enumerate(examples.digests):
            first_split, first_index = seen.setdefault(image, (split, index))
            if (first_split, first_index) == (split, index):
                continue
            first = splits[first_split]
            if first_split != split:
                across.setdefault((first_split, split), []).append((first.names[first_index], examples.names[index]))
            if digest(first.labels, first_index) != digest(examples.labels, index):
                disputed.append((_labelled(first, first_index, class_names), _labelled(examples, index, class_names)))
    for (first_split, split), pairs in across.items():
        notes.append(
            f"Leakage: {len(pairs)} image(s) of {split} are byte for byte in {first_split} too, "
            f"for instance {pairs[0][1]} = {pairs[0][0]}: the figures of {split} are too good."
        )
    if disputed:
        notes.append(
            f"Labels: {len(disputed)} image(s) are in the data twice with different labels, "
            f"for instance {disputed[0][0]} = {disputed[0][1]}."
        )
    return notes


def fingerprint(splits: dict[str, Examples], class_names: list[str]) -> str:
    """Hex digest over class names, splits, image bytes and labels; file names and places do not matter."""
    total = hashlib.sha256(repr(class_names).encode())
    for split, examples in splits.items():
        total.update(split.encode())
        for index, image in enumerate(examples.digests):
            total.update(f"{image}:{digest(examples.labels, index)}\n".encode())
    return total.hexdigest()


def _labelled(examples: Examples, index: int, class_names: list[str]) -> str:
    return examples.names[index] + says(examples.labels, index, class_names)


def _inspect_chunk(items: list[tuple[Examples, int]], inspect) -> list[tuple[str, str | None]]:
    """(digest, problem or None) for each item; one graph call decodes them all, and names none when it fails."""
    contents = [_read(examples, index) for examples, index in items]
    problems = [problem for _, problem in contents]
    sizes = [None if examples.images is None else examples.images.shape[1:3] for examples, _ in items]
    files = [i for i, (examples, _) in enumerate(items) if examples.images is None and not problems[i]]
    try:
        decoded = _decode_all(tf.constant([contents[i][0] for i in files], tf.string)).numpy()
        for i, size in zip(files, decoded[:, :2].tolist(), strict=True):
            sizes[i] = size
    except tf.errors.OpError:
        for i in files:
            sizes[i], problems[i] = _decode_one(contents[i][0])
    if inspect is not None:
        for i, (examples, index) in enumerate(items):
            problems[i] = problems[i] or inspect(examples.labels, index, *sizes[i])
    digests = [hashlib.blake2b(content, digest_size=16).hexdigest() for content, _ in contents]
    return list(zip(digests, problems, strict=True))


def _read(examples: Examples, index: int) -> tuple[bytes, str | None]:
    if examples.images is not None:
        return examples.images[index].tobytes(), None
    try:
        content = examples.raw(index)
    except OSError as error:
        return b"", f"cannot be read: {error.strerror or error}"
    return content, _header_problem(content) if content else "the file is empty"


def _header_problem(content: bytes) -> str | None:
    """Finds images that would fill the memory, without decoding them."""
    from PIL import Image

    try:
        Image.open(io.BytesIO(content)).close()
    except Image.DecompressionBombError:
        return "more than 178 million pixels"
    except (OSError, SyntaxError):
        pass  # unknown to Pillow, so the decoder has the word
    return None


def _decode_one(content: bytes) -> tuple[list[int] | None, str | None]:
    """The height and width of an image, or what is wrong with it."""
    try:
        return _decode_all(tf.constant([content])).numpy()[0, :2].tolist(), None
    except tf.errors.OpError:
        return None, "damaged, or not a JPEG, PNG, WebP, BMP or GIF image"


@tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
def _decode_all(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes (n,) files one by one on the CPU: (n, 3) int32 of height, width, and the brightest value, which only
    shows that it was done."""

    def measure(file):
        image = decode(file)
        return tf.concat([tf.shape(image)[:2], [tf.cast(tf.reduce_max(image), tf.int32)]], 0)

    with tf.device("CPU:0"):
        return tf.map_fn(measure, encoded, fn_output_signature=tf.int32, parallel_iterations=1)

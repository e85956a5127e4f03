"""The pre-flight check: every image is read and decoded once before training starts, and hashed on the way."""

from __future__ import annotations

import hashlib
import io
import os
import time
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from keras_vit.data.decode import decode
from keras_vit.data.examples import Examples, with_digests
from keras_vit.errors import InputError

_CHUNK = 32
_SHOWN = 3
_PROGRESS_AFTER_S = 1.0


def preflight(splits: dict[str, Examples], *, skip_bad: bool, progress: bool) -> tuple[dict[str, Examples], list[str]]:
    """Reads and decodes every image with the pipeline's own decoder, in threads.

    Args:
        splits: examples by split name.
        skip_bad: leave unreadable images out instead of failing.
        progress: show a progress bar when it takes longer than a second.

    Returns:
        The splits with the digest of each image and without bad ones, and notes on what was left out.

    Raises:
        InputError: an image is empty, damaged, of no known format or too large, and `skip_bad` is off.
    """
    inspected = _inspect_all([(examples, i) for examples in splits.values() for i in range(len(examples))], progress)
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


def leakage(splits: dict[str, Examples], class_names: list[str]) -> list[str]:
    """Notes on images whose very bytes are in two splits, or carry two labels.

    Args:
        splits: checked examples by split name, `train` first.
        class_names: the name of each label.
    """
    notes = []
    seen: dict[str, tuple[str, str, int]] = {}
    across: dict[tuple[str, str], list[tuple[str, str]]] = {}
    disputed = []
    for split, examples in splits.items():
        for name, digest, label in zip(examples.names, examples.digests, examples.labels.tolist(), strict=True):
            if digest not in seen:
                seen[digest] = (split, name, label)
                continue
            first_split, first_name, first_label = seen[digest]
            if first_split != split:
                across.setdefault((first_split, split), []).append((first_name, name))
            if first_label != label:
                disputed.append((first_name, class_names[first_label], name, class_names[label]))
    for (first_split, split), pairs in across.items():
        notes.append(
            f"Leakage: {len(pairs)} image(s) of {split} are byte for byte in {first_split} too, "
            f"for instance {pairs[0][1]} = {pairs[0][0]}: the figures of {split} are too good."
        )
    if disputed:
        first_name, first_class, name, other = disputed[0]
        notes.append(
            f"Labels: {len(disputed)} image(s) are in the data twice with different labels, "
            f"for instance {first_name} ({first_class}) = {name} ({other})."
        )
    return notes


def fingerprint(splits: dict[str, Examples], class_names: list[str]) -> str:
    """Hex digest over class names, splits, image bytes and labels; file names and places do not matter."""
    total = hashlib.sha256(repr(class_names).encode())
    for split, examples in splits.items():
        total.update(split.encode())
        for digest, label in zip(examples.digests, examples.labels.tolist(), strict=True):
            total.update(f"{digest}:{label}\n".encode())
    return total.hexdigest()


def _inspect_all(items: list[tuple[Examples, int]], progress: bool):
    """Yields (digest, problem or None) for each item, in order."""
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    bar = Progress(*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn(), transient=True)
    task = bar.add_task("Checking images", total=len(items))
    chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
    started = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for reports in pool.map(_inspect_chunk, chunks):
                if progress and time.monotonic() - started > _PROGRESS_AFTER_S:
                    bar.start()
                bar.advance(task, len(reports))
                yield from reports
        finally:
            bar.stop()


def _inspect_chunk(items: list[tuple[Examples, int]]) -> list[tuple[str, str | None]]:
    """(digest, problem or None) for each item; one graph call decodes them all, and names none when it fails."""
    contents = [_read(examples, index) for examples, index in items]
    problems = [problem for _, problem in contents]
    files = [i for i, (examples, _) in enumerate(items) if examples.images is None and not problems[i]]
    try:
        _decode_all(tf.constant([contents[i][0] for i in files], tf.string))
    except tf.errors.OpError:
        for i in files:
            problems[i] = _decoding_problem(contents[i][0])
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


def _decoding_problem(content: bytes) -> str | None:
    try:
        _decode_all(tf.constant([content]))
    except tf.errors.OpError:
        return "damaged, or not a JPEG, PNG, WebP, BMP or GIF image"
    return None


@tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
def _decode_all(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes (n,) files one by one on the CPU; the brightest pixels only show that it was done."""
    with tf.device("CPU:0"):
        return tf.map_fn(
            lambda file: tf.reduce_max(decode(file)), encoded, fn_output_signature=tf.uint8, parallel_iterations=1
        )

"""What goes wrong in the middle of a run, said in one sentence that names the place and the images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import tensorflow as tf

from keras_vit.data import Examples
from keras_vit.data.check import unreadable
from keras_vit.errors import InputError
from keras_vit.files import PARTIAL

_SHOWN = 8


class Diverged(Exception):
    """A loss or a weight is NaN or infinite.

    Attributes:
        epoch, step: of the update, epochs from 0 and updates from 1.
        what: that is not a number.
    """

    def __init__(self, epoch: int, step: int, what: str):
        super().__init__(f"{what} is not a number in epoch {epoch + 1}, step {step}")
        self.epoch = epoch
        self.step = step
        self.what = what


def divergence(error: Diverged, images: Sequence[str]) -> InputError:
    """The sentence for a run that ends because of it.

    Args:
        error: where it was.
        images: names of the images of that batch.
    """
    return InputError(
        f"Training diverged in epoch {error.epoch + 1}, step {error.step} ({error.what} is not a number; the batch was "
        f"{_listed(images)}): lower train.learning_rate, raise train.warmup_epochs or set train.back_off, and go on "
        "from the last checkpoint with --resume."
    )


@contextlib.contextmanager
def explained(folder: Path, *suspects: Callable[[], Examples]) -> Iterator[None]:
    """Turns an error of TensorFlow, which reads images and writes logs, into a sentence where these are its cause.

    Images could be read at the start, so that storage has failed or somebody has changed the data: the run stops also
    with `skip_bad`, because one that went on without them could not be repeated.

    Args:
        folder: the run folder, whose disk may be full.
        suspects: each gives examples of which one may be unreadable, the likeliest first.

    Raises:
        InputError: in place of TensorFlow's error.
    """
    try:
        yield
    except tf.errors.OpError as error:
        bad = next((found for suspect in suspects if (found := unreadable(suspect()))), None)
        if bad:
            raise InputError(
                "Training stopped, because an image that was good at its start cannot be read any more: "
                f"{_listed(bad)}; put it back and go on from the last checkpoint with --resume."
            ) from error
        check_space(folder)
        raise


def check_space(folder: Path) -> None:
    """Makes sure that a megabyte can be written into a folder, by writing and removing it.

    Raises:
        InputError: it cannot.
    """
    path = folder / f"{PARTIAL}space"
    try:
        path.write_bytes(bytes(1_000_000))
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written any more ({error.strerror}): free some space, and go on from the last "
            "checkpoint with --resume."
        ) from error
    finally:
        path.unlink(missing_ok=True)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")

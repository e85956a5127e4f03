"""What a person at a terminal sees while a run learns."""

from __future__ import annotations

import time

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ShowProgress(keras.callbacks.Callback):
    """A bar over the whole run with the time left, and one line an epoch that stays; also measures images/s.

    Args:
        done: updates already made, in earlier processes.
        epochs: of the whole run.
        steps: updates per epoch.
        batch_size: images per update.
        monitor: the validation figure that is told beside the losses, and its own of training.
    """

    def __init__(self, done: int, epochs: int, steps: int, batch_size: int, monitor: str):
        super().__init__()
        self.told = dict.fromkeys(("loss", monitor.removeprefix("val_"), "val_loss", monitor))
        self.epochs = epochs
        self.batch_size = batch_size
        self.console = Console()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.progress.add_task("training", total=epochs * steps - done, loss=float("nan"), completed=0)

    def on_train_begin(self, logs=None):
        """Starts the bar."""
        self.progress.start()

    def on_train_end(self, logs=None):
        """Ends the bar."""
        self.progress.stop()

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock."""
        self.images, self.seconds, self._since = 0, 0.0, time.perf_counter()
        self.progress.update(self.task, description=f"epoch {epoch + 1}/{self.epochs}")

    def on_train_batch_end(self, batch, logs=None):
        """Moves the bar on."""
        self.images += self.batch_size
        # The clock stops at the last update, so that validation does not count as training time.
        self.seconds = time.perf_counter() - self._since
        self.progress.update(self.task, advance=1, loss=float(logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        """Prints the epoch's line and adds `images_per_second` to its figures."""
        # No image and no time where only the validation of the epoch was left to do.
        logs["images_per_second"] = self.images / self.seconds if self.images else 0.0
        shown = " · ".join(f"{name} {logs[name]:.4f}" for name in self.told if name in logs)
        self.console.print(
            f"epoch {epoch + 1:>3}/{self.epochs} · {shown} · {logs['images_per_second']:.0f} images/s",
            highlight=False,
            soft_wrap=True,
        )

"""What a person at a terminal sees while a run learns."""

from __future__ import annotations

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ShowProgress(keras.callbacks.Callback):
    """A bar over the whole run with the time left, and one line an epoch that stays.

    Args:
        done: updates already made, in earlier processes.
        epochs: of the whole run.
        steps: updates per epoch.
        monitor: the validation figure that is told beside the losses, and its own of training.
    """

    def __init__(self, done: int, epochs: int, steps: int, monitor: str):
        super().__init__()
        self.told = dict.fromkeys(("loss", monitor.removeprefix("val_"), "val_loss", monitor))
        self.epochs = epochs
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
        """Tells the epoch."""
        self.progress.update(self.task, description=f"epoch {epoch + 1}/{self.epochs}")

    def on_train_batch_end(self, batch, logs=None):
        """Moves the bar on."""
        self.progress.update(self.task, advance=1, loss=float(logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        """Prints the epoch's line."""
        shown = " · ".join(f"{name} {logs[name]:.4f}" for name in self.told if name in logs)
        self.console.print(
            f"epoch {epoch + 1:>3}/{self.epochs} · {shown} · {logs['images_per_second']:.0f} images/s",
            highlight=False,
            soft_wrap=True,
        )

"""The callbacks of a run as one: they may begin in the middle of an epoch, and stop after any step."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import keras
import tensorflow as tf

from keras_vit.errors import InputError, Stopped
from keras_vit.training import snapshot
from keras_vit.training.faults import Diverged, check_space
from keras_vit.training.keep import KeepState
from keras_vit.training.signals import StopSignals
from keras_vit.training.team import Request


class Flow(keras.callbacks.CallbackList):
    """Callbacks for `fit` that continue an epoch at its step, and leave it when a signal has come.

    `fit` knows whole epochs only. Here the first one ends after the steps that were left, by `stop_training`, which is
    taken back at the epoch's end, and callbacks are told a step's number in the whole epoch. The dataset has to begin
    with the batch that is due.

    Args:
        callbacks: in the order in which they are called.
        model: that is fitted.
        keep: one of the callbacks; its state says where the run is.
        steps: updates per epoch.
        signals: that end the run.
        targets: form of a batch of targets.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        model: keras.Model,
        keep: KeepState,
        steps: int,
        signals: StopSignals,
        targets: tf.TypeSpec,
    ):
        super().__init__(list(callbacks), add_history=True, model=model, steps=steps)
        self.keep = keep
        self.steps = steps
        self.signals = signals
        self.targets = targets
        self.done = keep.state.step
        self._validating = False
        self._averages: dict = {}

    def on_epoch_begin(self, epoch, logs=None):
        """Continues the averages of an epoch that was begun before.

        Where only its validation is left, the one step that `fit` insists on does nothing.
        """
        super().on_epoch_begin(epoch, logs)
        if self.done:
            snapshot.put_metrics(self.model, self.keep.averages, self.targets)
        self._step = self.model.train_function
        if self.done == self.steps:
            self.model.train_function = lambda iterator: self.model.get_metrics_result()

    def on_train_batch_begin(self, batch, logs=None):
        """Tells the step's number in the whole epoch."""
        if self.done < self.steps:
            super().on_train_batch_begin(batch + self.done, logs)

    def on_train_batch_end(self, batch, logs=None):
        """Tells the step's number in the whole epoch, and ends a continued epoch after its last. Then all processes do
        what any of them asks for.

        Raises:
            Diverged: the loss is not a number; the checkpoints stay.
            Stopped: a signal has come; the state is saved.
        """
        if self.done < self.steps:
            super().on_train_batch_end(batch + self.done, logs)
        if self.keep.state.step == self.steps:
            # Validation resets the metrics, and may be stopped too.
            self._averages = snapshot.take_metrics(self.model)
            self.model.stop_training = bool(self.done)
        self._heed(self.keep.request)

    def on_test_begin(self, logs=None):
        """Notes that validation runs."""
        self._validating = True
        super().on_test_begin(logs)

    def on_test_batch_end(self, batch, logs=None):
        """Leaves validation when a signal has come: machines that are taken away wait for seconds only."""
        super().on_test_batch_end(batch, logs)
        if self.signals.received and self.keep.team.count == 1:
            # The weights may be their average until now.
            self.on_test_end()
            self._heed()

    def on_test_end(self, logs=None):
        """Notes that validation is over."""
        super().on_test_end(logs)
        self._validating = False

    def on_epoch_end(self, epoch, logs=None):
        """Lets `fit` go on with the next epoch.

        Raises:
            Stopped: a signal has come; the state is saved.
            InputError: `fit` has taken an error of TensorBoard's writer for the end of the data.
        """
        if self.keep.state.step != self.steps:
            check_space(self.keep.folder)
            raise InputError(
                f"Epoch {epoch + 1} ended after step {self.keep.state.step} of {self.steps}: go on from the last "
                "checkpoint with --resume."
            )
        if self.done:
            self.done, self.model.stop_training, self.model.train_function = 0, False, self._step
        super().on_epoch_end(epoch, logs)
        self._averages = {}
        self._heed()

    def close(self) -> None:
        """Ends what the callbacks have begun when `fit` was left by an exception, which stays the one that is seen."""
        ends = ["on_test_end", "on_train_end"] if self._validating else ["on_train_end"]
        for end in ends:
            for callback in self.callbacks:
                with contextlib.suppress(Exception):
                    getattr(callback, end)()

    def _heed(self, request: Request = Request.GO_ON) -> None:
        request = self.keep.team.agree(max(request, Request.STOP if self.signals.received else Request.GO_ON))
        state, folder = self.keep.state, self.keep.folder
        if request == Request.DIVERGED:
            raise Diverged(state.epoch, state.step, "the loss")
        if request != Request.GO_ON:
            self.keep.save(self._averages)
        if request != Request.STOP:
            return
        cause = self.signals.received or "Another worker"
        raise Stopped(
            f"{cause} stopped the run in epoch {state.epoch + 1} after step {state.step}, and all is saved: go on with "
            f"keras-vit train --out {folder} --resume."
        )

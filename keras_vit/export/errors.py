"""What can go wrong with an export that is not the user's input."""

from __future__ import annotations

from pathlib import Path

from keras_vit.errors import Failure


class ExportFailed(Failure):
    """A stage of an export could not be done; the message names the stage and the remedy.

    Attributes:
        log: what the stage's process printed, or None when it had none.
    """

    def __init__(self, message: str, log: Path | None = None):
        super().__init__(message)
        self.log = log


class ExportMissed(Failure):
    """An artefact ran, but differs more from its source model than the tolerance allows.

    The command line prints the sentence and exits with status 1.

    Attributes:
        report: the report that was written.
    """

    def __init__(self, message: str, report: dict):
        super().__init__(message)
        self.report = report

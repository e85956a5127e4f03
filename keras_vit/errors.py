"""Errors that are a sentence for a person, and the words that help to mend a wrong name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something that the user gave cannot be used: the message is one sentence with the remedy in it.

    The command line prints the sentence without a traceback and exits with status 2.
    """


class Failure(RuntimeError):
    """Something was tried with good input and did not succeed; the message is one sentence.

    The command line prints the sentence without a traceback and exits with status 1.
    """


class Stopped(RuntimeError):
    """A signal ended the work before its time, and what was done is saved; the message is one sentence that says how to
    go on.

    The command line prints the sentence without a traceback and exits with status 3.
    """


def suggest(given: str, accepted: Iterable[str], *, show: int = 12) -> str:
    """The end of an error sentence: the nearest right spelling, or else what is accepted.

    Args:
        given: what the user wrote.
        accepted: the names that would have been right.
        show: how many names are listed when none is near.

    Returns:
        For instance `"did you mean 'vit_b16'?"` or `"accepted are: a, b, c"`.
    """
    names = list(accepted)
    near = difflib.get_close_matches(str(given), names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    listed = ", ".join(names[:show]) + (", ..." if len(names) > show else "")
    return f"accepted are: {listed}"

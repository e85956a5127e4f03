"""What the benchmark scripts share: a contender run in a fresh process, and its figures written down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


class ContenderError(RuntimeError):
    """A contender's process failed; the message is the last line that it wrote to stderr."""


def run_json(command: list[str], env: dict[str, str] | None = None, *, show_stderr: bool = False) -> dict:
    """Runs a command and reads the JSON object on the last line of its output.

    Args:
        command: program and arguments.
        env: variables set on top of this process's own.
        show_stderr: let the child's progress through instead of keeping it for the error message.

    Raises:
        ContenderError: the command ended with a status other than 0.
    """
    child = subprocess.run(
        command,
        env=os.environ | (env or {}),
        stdout=subprocess.PIPE,
        stderr=None if show_stderr else subprocess.PIPE,
        text=True,
    )
    if child.returncode:
        reason = (child.stderr or "").strip().splitlines()[-1:] or [f"exit status {child.returncode}"]
        raise ContenderError(reason[0])
    return json.loads(child.stdout.strip().splitlines()[-1])


def write_json(path: Path, figures: dict) -> None:
    """Writes the figures whole or not at all, and says where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    temporary.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    print(f"Figures written to {path}", file=sys.stderr)

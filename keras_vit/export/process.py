"""A program of `runners/` in a clean process: it knows its own runtime and nothing of this package."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from keras_vit.export.errors import ExportFailed

RUNNERS = Path(__file__).parent / "runners"


def run_script(script: Path, arguments: Sequence[str | Path], *, log: Path, stage: str, remedy: str) -> None:
    """Runs a Python file in a process of its own, on the CPU, in the folder of its log.

    A crash of native code (a converter that aborts, a runtime that runs out of memory) ends that process only.

    Args:
        script: the Python file.
        arguments: of its command line.
        log: gets what the process prints; removed again when the process succeeds.
        stage: what is being done, for the error's sentence.
        remedy: what the user can do about a failure.

    Raises:
        ExportFailed: the process ended with an error or was killed; carries the log.
    """
    # -P: the script's own folder is inside this package and must not become importable. The environment is kept,
    # because on clusters it is what makes TensorFlow importable; the runners check what was imported.
    command = [sys.executable, "-P", script, *arguments]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "1"}
    with log.open("wb") as stream:
        done = subprocess.run(
            [str(part) for part in command],
            stdout=stream,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=log.parent,
            env=environment,
            check=False,
        )
    if done.returncode:
        raise ExportFailed(f"{stage} failed ({_cause(done.returncode, log)}): {remedy}", log)
    log.unlink()


def _cause(status: int, log: Path) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else f"exit status {status}"

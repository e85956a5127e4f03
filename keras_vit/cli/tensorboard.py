"""`keras-vit tensorboard`."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import threading
from pathlib import Path

from keras_vit.errors import InputError

NAME = "tensorboard"
HELP = "Show the curves, pictures, graph and settings of runs in a browser."
EXAMPLES = """examples:
  keras-vit tensorboard saved_models/run1
  keras-vit tensorboard saved_models/run1 saved_models/run2
  keras-vit tensorboard saved_models --port 0        # all runs below, on any free port
  keras-vit tensorboard saved_models/run1 --host 0.0.0.0   # to be seen from other machines
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("folders", nargs="+", metavar="RUN", help="run folders, or one folder with runs in it")
    parser.add_argument("--port", type=int, default=6006, help="0 takes any that is free (default: %(default)s)")
    parser.add_argument("--host", default="localhost", help="address to listen on (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Serves the page, and returns when it is interrupted."""
    folders = [_checked(Path(folder)) for folder in arguments.folders]
    # TensorBoard's own data server is a compiled program that reads faster, but it takes one folder only.
    where = ["--logdir", str(folders[0])]
    if len(folders) > 1:
        where = ["--logdir_spec", ",".join(f"{name}:{folder}" for name, folder in _named(folders).items())]
    _check_address(arguments.host, arguments.port)
    from tensorboard.program import TensorBoard

    server = TensorBoard()
    server.configure(argv=[None, *where, "--port", str(arguments.port), "--host", arguments.host])
    url = server.launch()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    print(f"TensorBoard: {url} (Ctrl-C ends it)", flush=True)
    ended.wait()
    return 0


def _check_address(host: str, port: int) -> None:
    # TensorBoard ends the process with several lines, or takes another port.
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if getattr(error, "errno", None) else error
        raise InputError(
            f"TensorBoard cannot listen on {host}, port {port} ({reason}): give others with --host and --port; port 0 "
            "is any that is free."
        ) from None


def _checked(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: give the folder of a run, or one with runs in it.")
    if next(folder.rglob("events.out.tfevents.*"), None) is None:
        raise InputError(f"{folder} holds nothing for TensorBoard: give the folder of a run that has trained.")
    return folder


def _named(folders: list[Path]) -> dict[str, Path]:
    """Each folder under what tells it from the others."""
    absolute = [folder.absolute() for folder in dict.fromkeys(folders)]
    shared = os.path.commonpath([folder.parent for folder in absolute])
    return {os.path.relpath(folder, shared): folder for folder in absolute}

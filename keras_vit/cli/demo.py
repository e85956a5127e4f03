"""`keras-vit demo`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from keras_vit.cli.opened import ARGUMENT, open_path, run_of

NAME = "demo"
HELP = "Drop photos on a local page and see what a run says, what it looked at and which exported file answered."
EXAMPLES = """examples:
  keras-vit demo saved_models/run1                             # the fastest exported float file answers
  keras-vit demo saved_models/run1/export/model.tflite         # this one does
  keras-vit demo saved_models/run1 --method rollout --port 0   # any free port
  keras-vit demo saved_models/run1 --host 0.0.0.0              # for the phone beside you, and everybody else
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("path", **ARGUMENT)
    parser.add_argument("--port", type=int, default=7860, help="0 takes any that is free (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--method", default="relevance", help="how to look inside at first, as keras-vit explain (default: %(default)s)"
    )
    parser.add_argument(
        "--max-megabytes", type=float, default=20, metavar="MB", help="largest photo (default: %(default)s)"
    )
    parser.add_argument(
        "--max-megapixels", type=float, default=50, metavar="MP", help="most pixels of a photo (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serves the page, and returns when it is interrupted."""
    from keras_vit.demo import Demo, Server
    from keras_vit.export.predictor import Predictor

    with Server(arguments.host, arguments.port, max_megabytes=arguments.max_megabytes) as server:
        found = open_path(arguments.path)
        run = run_of(found.path) if isinstance(found, Predictor) else None
        demo = Demo(found, run, method=arguments.method, max_megapixels=arguments.max_megapixels)
        demo.warm_up()
        server.start(demo)
        if not server.loopback:
            print(
                f"Everybody who can reach {arguments.host} can open the page and send it photos: leave --host out to "
                "keep it to yourself.",
                file=sys.stderr,
            )
        ended = threading.Event()
        before = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)}
        print(f"Demo: {server.url} (Ctrl-C ends it)", flush=True)
        ended.wait()
        # Whoever does not want to wait for a last answer may say so again.
        for number, handler in before.items():
            signal.signal(number, handler)
        server.stop()
    return 0

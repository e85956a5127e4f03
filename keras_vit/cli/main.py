"""`keras-vit`: one sub-command a file; a command parses, calls the library, and prints."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from keras_vit.cli import (
    benchmark,
    data,
    demo,
    embed,
    evaluate,
    explain,
    export,
    models,
    predict,
    probe,
    tensorboard,
    train,
    tune,
)
from keras_vit.errors import Failure, InputError, Stopped
from keras_vit.version import __version__

COMMANDS = (train, tune, tensorboard, evaluate, predict, explain, demo, embed, probe, export, benchmark, models, data)

DONE, MISSED, WRONG_INPUT, STOPPED = 0, 1, 2, 3
"""Exit status: done; something was tried and failed (a bar missed, a conversion crashed); wrong input; stopped by
SIGTERM or Ctrl-C, and a training run goes on with --resume."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns the exit status.

    Args:
        argv: the words after `keras-vit`; the process's own by default.
    """
    parser = argparse.ArgumentParser(
        prog="keras-vit",
        description="Train a Vision Transformer, ship one file, and be told what shipping cost.",
    )
    parser.add_argument("--version", action="version", version=f"keras-vit {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        command = commands.add_parser(
            module.NAME,
            help=module.HELP,
            description=module.HELP,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments)
    except InputError as error:
        print(f"keras-vit: {error}", file=sys.stderr)
    except Failure as error:
        print(f"keras-vit: {error}", file=sys.stderr)
        return MISSED
    except Stopped as error:
        print(f"keras-vit: {error}", file=sys.stderr)
        return STOPPED
    except OSError as error:
        print(f"keras-vit: {error.filename or 'a file'}: {error.strerror or error}.", file=sys.stderr)
    except KeyboardInterrupt:
        print("keras-vit: stopped; a training run goes on with --resume.", file=sys.stderr)
        return STOPPED
    return WRONG_INPUT

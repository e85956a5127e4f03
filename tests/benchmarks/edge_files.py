"""The folder of files that `edge_latency.py` compares: what is missing is made, once, each in its own environment."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from edge_contenders import ROUTES, SIZES, Route
from fresh_process import ContenderError, run_json, write_json

WRITER = Path(__file__).with_name("edge_contenders.py")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the files are and what making them needs."""
    parser.add_argument("--files", type=Path, required=True, metavar="FOLDER", help="kept from one run to the next")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="default: all")
    parser.add_argument("--weights", help="of the Ti/16 (DeiT-Ti's, for instance); S and B are random")
    parser.add_argument("--calibration", nargs="+", metavar="PHOTOS", help="folders of images, for full integer files")
    parser.add_argument("--kerashub-path", help="folder that keras-hub was installed into, if not this environment")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter with timm, litert-torch and onnx")


def make_files(size: str, arguments: argparse.Namespace) -> dict[str, Path]:
    """Name of a route -> its file, for every route that is in the folder or could be made.

    Says of every other why it could not. Beside a file stands a `.json` with its weights and the versions that made it.
    """
    files = {}
    for name, route in ((name, route) for name, route in ROUTES.items() if size in route.sizes):
        path = arguments.files / f"{name}_{size}{route.suffix}"
        try:
            if path.exists():
                _check_weights(path, _weights(route, size, arguments))
            else:
                _make(name, route, size, path, arguments)
            files[name] = path
        except (ContenderError, OSError) as error:
            print(f"{path.name} is left out: {error}", file=sys.stderr)
    return files


def _make(name: str, route: Route, size: str, path: Path, arguments: argparse.Namespace) -> None:
    if route.calibrated and not arguments.calibration:
        raise ContenderError("it needs --calibration PHOTOS")
    print(f"Making {path.name}", file=sys.stderr)
    python = arguments.torch_python if route.environment == "torch" else sys.executable
    command = [python, str(WRITER), name, size, str(path.absolute())]
    if weights := _weights(route, size, arguments):
        command += ["--weights", weights]
    if route.calibrated:
        command += ["--calibration", *arguments.calibration]
    environment = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    if route.environment == "kerashub" and arguments.kerashub_path:
        search = [arguments.kerashub_path, os.environ.get("PYTHONPATH")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, search))
    write_json(path.with_suffix(".json"), run_json(command, environment))


def _weights(route: Route, size: str, arguments: argparse.Namespace) -> str | None:
    of_keras_model = route.environment == "keras_vit" and size == "ti16" and arguments.weights
    return str(Path(arguments.weights).absolute()) if of_keras_model else None


def _check_weights(path: Path, weights: str | None) -> None:
    record = path.with_suffix(".json")
    made_with = json.loads(record.read_text())["weights"] if record.exists() else weights
    if made_with != weights:
        raise ContenderError(
            f"it was made with weights {made_with}, not {weights}: delete it, or give --weights as then"
        )

"""What is inside an exported file: its operators, the types they compute in, their work, and what would stop it."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from keras_vit.errors import InputError
from keras_vit.export.process import RUNNERS, run_script
from keras_vit.export.tflite_graph import TFLiteGraph

MOST_DIMENSIONS = 4
"""Delegates for GPUs and NPUs take no tensor of more."""


def inspect_tflite(path: Path) -> dict:
    """What a TFLite file holds.

    Args:
        path: of the file.

    Returns:
        `operators` (name -> count), `compute` (kind, see `Operator.kind` -> name -> count), `custom` (names of the
        operators that are not built in), `unknown_shapes` and `many_dimensions` (names of the tensors with an unknown
        dimension, and of those with more than `MOST_DIMENSIONS`), `macs` (multiplications of one call) and `xnnpack`,
        see `xnnpack`.

    Raises:
        InputError: the file cannot be read.
        ExportFailed: the interpreter does not load it.
    """
    graph = TFLiteGraph(path)
    kinds = sorted({operator.kind for operator in graph.operators})
    return {
        "operators": _counted(operator.name for operator in graph.operators),
        "compute": {kind: _counted(o.name for o in graph.operators if o.kind == kind) for kind in kinds},
        "custom": sorted({operator.name for operator in graph.operators if operator.custom}),
        "unknown_shapes": [tensor.name for tensor in graph.tensors if -1 in tensor.shape],
        "many_dimensions": [tensor.name for tensor in graph.tensors if len(tensor.shape) > MOST_DIMENSIONS],
        "macs": sum(operator.macs for operator in graph.operators),
        "xnnpack": xnnpack(path),
    }


def xnnpack(path: Path) -> dict:
    """How LiteRT shares a TFLite file between XNNPACK, its delegate for CPUs, and its own kernels.

    The interpreter itself is asked, on this machine: the figures hold for its processor and version.

    Returns:
        `partitions`, the number of parts of the graph that XNNPACK runs, and `kernels` (operator name -> how often the
        interpreter runs its own kernel, between the parts).

    Raises:
        ExportFailed: the interpreter does not load the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "delegate.json"
        run_script(
            RUNNERS / "delegate_tflite.py",
            [path.absolute(), result],
            log=Path(folder) / "delegate.log",
            stage=f"Loading {path.name}",
            remedy="a file that its own runtime does not load cannot be used; export it again.",
        )
        told = json.loads(result.read_text())
    return {"partitions": told["partitions"], "kernels": _counted(told["kernels"])}


def obstacles(path: Path) -> list[str]:
    """What would keep a TFLite file from running on a runtime with built-in operators only.

    Args:
        path: of the file.

    Returns:
        For instance `["the custom operator FlexErf"]` or `["an unknown dimension in its tensor image"]`; empty when
        all is well.
    """
    graph = TFLiteGraph(path)
    custom = dict.fromkeys(operator.name for operator in graph.operators if operator.custom)
    unknown = [tensor.name for tensor in graph.tensors if -1 in tensor.shape]
    return [
        *(f"the custom operator {name}" for name in custom),
        *(f"an unknown dimension in its tensor {name}" for name in unknown[:3]),
    ]


def inspect_onnx(path: Path) -> dict:
    """What an ONNX file holds: `operators` (name -> count) and `custom`, those outside of ONNX's own domains.

    Raises:
        InputError: the package onnx is missing, or the file cannot be read.
    """
    try:
        import onnx
    except ImportError as error:
        raise InputError("Looking into ONNX files needs onnx: pip install 'keras_vit[onnx]'.") from error
    try:
        nodes = onnx.load(str(path), load_external_data=False).graph.node
    except Exception as error:
        raise InputError(f"{path} cannot be read as an ONNX file ({error}): export it again.") from error
    return {
        "operators": _counted(node.op_type for node in nodes),
        "custom": sorted({f"{node.domain}.{node.op_type}" for node in nodes if node.domain not in ("", "ai.onnx")}),
    }


INSPECTORS: dict[str, Callable[[Path], dict]] = {".tflite": inspect_tflite, ".onnx": inspect_onnx}
"""Ending of a file -> who looks into it. A SavedModel is no fixed list of operators and has no entry."""


def inspect(path: Path) -> dict:
    """What an exported file holds, see `inspect_tflite` and `inspect_onnx`; empty for other formats."""
    inspector = INSPECTORS.get(path.suffix)
    return inspector(path) if inspector else {}


def _counted(names: Iterable[str]) -> dict[str, int]:
    """Name -> count, the most frequent first, then by name."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))

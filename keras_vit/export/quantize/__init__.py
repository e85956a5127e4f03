"""Float32 TFLite files to quantised ones: dynamic, weight-only, full integer, 16-bit activations and mixtures.

The files are rewritten directly, after TFLite's quantisation specification: which operator computes how is a `Policy`,
the ranges of activations come from `Statistics` that are collected once, and one policy takes under a second. That
is what a search over policies needs, and what a converter's own quantiser does not offer.
"""

from __future__ import annotations

from pathlib import Path

from keras_vit.errors import InputError
from keras_vit.export.quantize.policy import DYNAMIC, INT16, INTEGER, INTEGER_UINT8, MIXED, WEIGHT_ONLY, Policy, Rule
from keras_vit.export.quantize.statistics import Statistics, collect, fingerprint

__all__ = [
    "DYNAMIC",
    "INT16",
    "INTEGER",
    "INTEGER_UINT8",
    "MIXED",
    "WEIGHT_ONLY",
    "Policy",
    "Rule",
    "Statistics",
    "collect",
    "float_operators",
    "operators",
    "quantize",
]


def quantize(source: Path, out: Path, policy: Policy, statistics: Statistics | None = None) -> None:
    """Writes a quantised file.

    Args:
        source: float32 .tflite file of static batch 1.
        out: the quantised file; written whole or not at all.
        policy: what is quantised and how.
        statistics: of this source, from `collect`; None for policies that need none.

    Raises:
        InputError: the source cannot be quantised, a rule matches no operator, or the statistics are missing or those
            of another file.
    """
    from keras_vit.export.quantize.bypass import bypass_slices
    from keras_vit.export.quantize.file import ModelFile
    from keras_vit.export.quantize.rewrite import Rewriter

    file = ModelFile.read(source)
    bypass_slices(file)
    if policy.needs_statistics and statistics is None:
        raise InputError("This policy fixes the ranges of activations: collect statistics on calibration images first.")
    if statistics is not None and statistics.source != fingerprint(source):
        raise InputError(f"The statistics are not those of {source}: collect them again.")
    Rewriter(file, policy, statistics).run()
    file.write(out)


def operators(source: Path) -> list[tuple[str, str]]:
    """Name and kind of each operator of a float file, as the rules of a policy see them.

    Raises:
        InputError: see `quantize`.
    """
    from keras_vit.export.quantize.file import ModelFile

    file = ModelFile.read(source)
    return [(file.name(operator.outputs[0]), file.kind(operator)) for operator in file.graph.operators]


def float_operators(path: Path) -> list[str]:
    """What computes in float in a quantised file, such as `["SOFTMAX probabilities"]`; conversions are not counted.

    Raises:
        InputError: the file cannot be read.
    """
    from keras_vit.export.tflite_graph import TFLiteGraph

    kept = ("float", "hybrid")
    return [f"{op.name} {op.outputs[0].name}" for op in TFLiteGraph(path).operators if op.kind in kept]

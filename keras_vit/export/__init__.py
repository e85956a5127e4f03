"""Export: files that run elsewhere, each run and compared before it is shipped."""

from __future__ import annotations

from keras_vit.export.errors import ExportFailed, ExportMissed
from keras_vit.export.formats import FORMATS, MAX_DROP, MAX_ERROR
from keras_vit.export.graph import export_graph, float32_copy
from keras_vit.export.metadata import Metadata, add_metadata, read_metadata
from keras_vit.export.predictor import Predictor, load
from keras_vit.export.report import print_table
from keras_vit.export.ship import DEFAULT_FORMATS, export

__all__ = [
    "DEFAULT_FORMATS",
    "FORMATS",
    "MAX_DROP",
    "MAX_ERROR",
    "ExportFailed",
    "ExportMissed",
    "Metadata",
    "Predictor",
    "add_metadata",
    "export",
    "export_graph",
    "float32_copy",
    "load",
    "print_table",
    "read_metadata",
]

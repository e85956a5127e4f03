"""How good a model is: figures, pictures, and the page that a run leaves behind."""

from keras_vit.evaluation.assessment import Assessment
from keras_vit.evaluation.figures import (
    classification_figures,
    confusion,
    expected_calibration_error,
    per_class,
    predictions_table,
    softmax,
)
from keras_vit.evaluation.looks import Look, Looks, legend_of, load_looks, sized, strip, tiled
from keras_vit.evaluation.mistakes import RIGHT, WRONG, from_worst, verdicts, worst_mistakes
from keras_vit.evaluation.page import write_report
from keras_vit.evaluation.pictures import (
    confusion_figure,
    contact_sheet,
    curves_figure,
    save_png,
    to_array,
    to_png,
)

__all__ = [
    "RIGHT",
    "WRONG",
    "Assessment",
    "Look",
    "Looks",
    "classification_figures",
    "confusion",
    "confusion_figure",
    "contact_sheet",
    "curves_figure",
    "expected_calibration_error",
    "from_worst",
    "legend_of",
    "load_looks",
    "per_class",
    "predictions_table",
    "save_png",
    "sized",
    "softmax",
    "strip",
    "tiled",
    "to_array",
    "to_png",
    "verdicts",
    "worst_mistakes",
    "write_report",
]

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
from keras_vit.evaluation.mistakes import RIGHT, WRONG, verdicts, worst_mistakes
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
    "classification_figures",
    "confusion",
    "confusion_figure",
    "contact_sheet",
    "curves_figure",
    "expected_calibration_error",
    "per_class",
    "predictions_table",
    "save_png",
    "softmax",
    "to_array",
    "to_png",
    "verdicts",
    "worst_mistakes",
    "write_report",
]

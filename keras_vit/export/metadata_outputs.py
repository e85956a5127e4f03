"""What a `.tflite` file says about its outputs, task by task, in the form that MediaPipe Tasks read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from keras_vit.errors import InputError
from keras_vit.export import metadata_schema as schema

LABELS = "labels.txt"
MEDIAPIPE_TYPES = ("float32", "uint8")


@dataclass(frozen=True)
class Tensor:
    """An input or output of a file: its name, shape, and type as NumPy calls it; scale and zero point if quantised."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int = 0


def outputs_metadata(task: str, path: Path, outputs: Sequence[Tensor], class_names: Sequence[str]) -> dict:
    """What a file's outputs say in the `SubGraphMetadata`.

    Args:
        task: what the model was trained for; those that are not in `TASKS` get what all have in common.
        path: of the file.
        outputs: in the order of its main subgraph.
        class_names: C names.

    Raises:
        InputError: names or types that do not fit.
    """
    broken = [name for name in class_names if len(name.splitlines()) != 1]
    classes = _last(outputs).shape[-1]
    if len(class_names) != classes:
        raise InputError(
            f"There are {len(class_names)} class names for the {classes} scores of {path}: give one a class."
        )
    if broken:
        raise InputError(f"The class name {broken[0]!r} does not fill one line of {LABELS}: rename the class.")
    return TASKS.get(task, _plain)(path, outputs, class_names)


def _classification(path: Path, outputs: Sequence[Tensor], class_names: Sequence[str]) -> dict:
    """MediaPipe's image classifier: one output of scores, and a file of labels that belongs to it."""
    scores = _only(path, outputs)
    if scores.dtype not in MEDIAPIPE_TYPES:
        raise InputError(
            f"{path} gives {scores.dtype} scores, but MediaPipe takes float32 or uint8: convert it for those."
        )
    return {"output_tensor_metadata": [_scores("probability", "Probability of each class.")]}


def _segmentation(path: Path, outputs: Sequence[Tensor], class_names: Sequence[str]) -> dict:
    """MediaPipe's image segmenter: one output of masks, the labels, and what is still to be done to the scores."""
    _only(path, outputs)
    return {
        "output_tensor_metadata": [_scores("probability", "Probability of each class in each pixel.")],
        "custom_metadata": [{"name": schema.SEGMENTER, "data": schema.segmenter_options()}],
    }


def _detection(path: Path, outputs: Sequence[Tensor], class_names: Sequence[str]) -> dict:
    """Boxes and scores of every place, before non-maximum suppression: MediaPipe's detector takes no such file."""
    about = {
        "boxes": {"name": "boxes", "description": "x0, y0, x1, y1 in pixels of the input, for each place."},
        "scores": _scores("scores", "Probability of each class, for each place."),
    }
    return {"output_tensor_metadata": [about[tensor.name] for tensor in outputs]}


def _plain(path: Path, outputs: Sequence[Tensor], class_names: Sequence[str]) -> dict:
    """Of any other task: the last output's last axis is that of the classes."""
    last = _last(outputs)
    about = [_scores(each.name, "One number a class.") if each is last else {"name": each.name} for each in outputs]
    return {"output_tensor_metadata": about}


TASKS: dict[str, Callable[[Path, Sequence[Tensor], Sequence[str]], dict]] = {
    "classification": _classification,
    "segmentation": _segmentation,
    "detection": _detection,
}
"""Task -> what its outputs say, called with the path, the outputs and the class names."""


def _last(outputs: Sequence[Tensor]) -> Tensor:
    """The output with one column a class, the last by name."""
    return max(outputs, key=lambda tensor: tensor.name)


def _only(path: Path, outputs: Sequence[Tensor]) -> Tensor:
    if len(outputs) != 1:
        raise InputError(f"{path} has {len(outputs)} outputs: give a file with one.")
    return outputs[0]


def _scores(name: str, description: str) -> dict:
    return {
        "name": name,
        "description": description,
        "content": {"properties": {"FeatureProperties": {}}},
        "stats": {"min": [0.0], "max": [1.0]},
        "associated_files": [{"name": LABELS, "description": "One class a line.", "type": schema.LABELS_FILE}],
    }

"""The detection task: boxes around objects, with their classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from keras_vit import evaluation
from keras_vit.data import Examples
from keras_vit.data.geometry import boxes_to_original
from keras_vit.data.image_size import image_size
from keras_vit.data.kinds import BOXES, LabelKind
from keras_vit.errors import InputError, suggest
from keras_vit.evaluation.assessment import Assessment
from keras_vit.preprocessing import Preprocessing
from keras_vit.tasks.detection import shipping
from keras_vit.tasks.detection.boxes import OVERLAPS
from keras_vit.tasks.detection.coco import coco_figures
from keras_vit.tasks.detection.losses import DetectionLoss
from keras_vit.tasks.detection.pictures import detection_sheet, draw_detections, truth
from keras_vit.tasks.detection.suppression import Detections, detect
from keras_vit.tasks.explaining import Aim, NothingFound, Presented
from keras_vit.tasks.shipping import Part
from keras_vit.tasks.task import Outputs, Task, original, pixels

PIXELS = 100.0
"""An error of so many pixels in a box is as bad as an error of 1 in a score."""
FOUND_IOU = 0.8
"""Two files have found the same object where their boxes overlap at least so much."""
WORST = 8
"""So many of the worst images are drawn."""


@dataclass(frozen=True)
class Detection(Task):
    """Boxes around objects, with their classes.

    Outputs are (B, A, 4 + C), boxes in pixels of the model's input and logits; targets are (B, M, 5), boxes and class,
    -1 in unused rows; a prediction is the `Detections` of an image in its own pixels.

    Attributes:
        box_weight, box_loss, focus, topk: see `DetectionLoss`.
        score_threshold, iou_threshold, max_detections: see `detect`.
        shown_score: what is surer is drawn and told; average precision looks at everything.
    """

    box_weight: float = 2.0
    box_loss: str = "giou"
    focus: float = 2.0
    topk: int = 13
    score_threshold: float = 0.01
    iou_threshold: float = 0.5
    max_detections: int = 100
    shown_score: float = 0.3

    labels: ClassVar[LabelKind] = BOXES
    goals: ClassVar[Mapping] = {"val_ap": max, "val_ap50": max, "val_loss": min}
    fit: ClassVar[str] = "pad"
    batch_size: ClassVar[int] = 8
    columns: ClassVar[tuple[str, ...]] = ("file", "class", "score", "x0", "y0", "x1", "y1")

    def __post_init__(self):
        if self.box_loss not in OVERLAPS:
            raise InputError(f"There is no box_loss {self.box_loss!r}: {suggest(self.box_loss, OVERLAPS)}")
        for name in ("score_threshold", "iou_threshold", "shown_score"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"options.{name} is from 0 to 1, not {getattr(self, name)}.")

    def loss(self, model: keras.Model, examples: Examples, label_smoothing: float | None = None) -> keras.losses.Loss:
        """Classes and boxes on task-aligned targets.

        Raises:
            InputError: label smoothing was asked for.
        """
        if label_smoothing:
            raise InputError("Detection knows no label smoothing: its targets are qualities; leave it out.")
        return DetectionLoss(
            model.input_shape[1:3],
            len(self.class_names),
            strides=model.get_layer("head").strides,
            box_weight=self.box_weight,
            box_loss=self.box_loss,
            focus=self.focus,
            topk=self.topk,
        )

    def validation(
        self, outputs_of: Outputs, examples: Examples, preprocessing: Preprocessing, batch_size: int
    ) -> dict[str, float]:
        """`val_ap` and `val_ap50`; 0 where there is nothing to find."""
        found = list(self.predictions(outputs_of, examples, preprocessing, batch_size=batch_size, progress=False))
        figures, _ = coco_figures(found, examples.labels, self.class_names)
        return {f"val_{name}": figures[name] or 0.0 for name in ("ap", "ap50")}

    @property
    def parts(self) -> tuple[Part, ...]:
        """`boxes` (B, A, 4) in pixels of the input, and `scores` (B, A, C), probabilities."""
        return (Part("boxes", slice(0, 4), PIXELS), Part("scores", slice(4, None)))

    def shipped(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Boxes and scores apart: one tensor of both could not be stored in 8 bits."""
        return {"boxes": outputs[..., :4], "scores": tf.sigmoid(outputs[..., 4:], name="scores")}

    def served(self) -> dict[str, Callable]:
        """`detect`: what is left after non-maximum suppression, see `shipping.suppressed`."""
        return {"detect": partial(shipping.suppressed, **self._thresholds())}

    def of_file(self, outputs: np.ndarray) -> np.ndarray:
        """Boxes and logits from boxes and scores (n, A, 4 + C)."""
        return np.concatenate([outputs[..., :4], shipping.logits(outputs[..., 4:])], axis=-1)

    def score(self, outputs: np.ndarray, examples: Examples, preprocessing: Preprocessing) -> float:
        """AP of what is left after non-maximum suppression, in pixels of the original images."""
        said = (self.of_file(np.asarray(output)[None])[0] for output in outputs)
        found = [self.interpret(output, examples, index, preprocessing) for index, output in enumerate(said)]
        return coco_figures(found, examples.labels, self.class_names)[0]["ap"] or 0.0

    def same(self, output: np.ndarray, source: np.ndarray) -> tuple[int, int]:
        """How many of the source's sure detections the file finds: of the same class and in nearly the same place, at
        half their threshold at least; and how many there are."""
        wanted, found = self._both(output, source)
        return shipping.in_common(wanted.above(self.shown_score), found.above(self.shown_score / 2), FOUND_IOU)

    def divergence(self, output: np.ndarray, source: np.ndarray) -> float:
        """How far boxes and scores are from the source's, see `shipping.divergence`."""
        return shipping.divergence(output, source)

    def told(self, output: np.ndarray, most: int = 3) -> list[tuple[int, float]]:
        """The surest detections: class and score."""
        (found,) = detect(self.of_file(output[None]), **self._thresholds())
        return [(int(c), float(s)) for c, s in zip(found.classes[:most], found.scores[:most], strict=True)]

    def draw_both(self, image: np.ndarray, source: np.ndarray, output: np.ndarray):
        """What each is sure of, side by side."""
        groups = [tuple(found.above(self.shown_score) for found in self._both(output, source))]
        return detection_sheet(pixels(image[None]), groups, ("source", "file"), self.class_names)

    def _both(self, output: np.ndarray, source: np.ndarray) -> list[Detections]:
        """The detections of source and file."""
        return detect(self.of_file(np.stack([source, output])), **self._thresholds())

    def interpret(self, output: np.ndarray, examples: Examples, index: int, preprocessing: Preprocessing) -> Detections:
        """What is left after non-maximum suppression, in pixels of the original image."""
        (found,) = detect(output[None], **self._thresholds())
        boxes = boxes_to_original(found.boxes, _size(examples, index), preprocessing)
        return Detections(boxes, found.scores, found.classes)

    def aim(self, outputs: np.ndarray, wanted: int | str | Sequence[int | str] | None = None) -> Aim:
        """The logit of one detected box.

        Args:
            outputs: of the model for B images, (B, A, 4 + C).
            wanted: which detection, the surest being 0, or the surest one of a class by its name; one for all images or
                one each. By default the surest.

        Raises:
            NothingFound: an image has no such detection.
            InputError: there is no such class.
        """
        each = [wanted] * len(outputs) if wanted is None or isinstance(wanted, (int, str)) else list(wanted)
        if len(each) != len(outputs):
            raise InputError(f"There are {len(each)} boxes to explain for {len(outputs)} images: give one an image.")
        outputs = np.asarray(outputs)
        weights, names = np.zeros(outputs.shape, "float32"), []
        for image, (found, one) in enumerate(zip(detect(outputs, **self._thresholds()), each, strict=True)):
            if isinstance(one, str) and not one.isdecimal():
                ranks = np.flatnonzero(found.classes == self._class(one))
            else:
                ranks = np.arange(len(found))[int(one or 0) :]
            if not len(ranks):
                raise NothingFound(
                    f"Nothing like {one!r} was detected in image {image}: {len(found)} boxes were found, the surest "
                    "being 0; options.score_threshold says what counts."
                )
            box, kind = found.boxes[ranks[0]], found.classes[ranks[0]]
            place = np.abs(outputs[image, :, :4] - box).sum(-1).argmin()
            weights[image, place, 4 + kind] = 1.0
            names.append(f"{self.class_names[kind]} {found.scores[ranks[0]]:.0%}")
        return Aim(weights, names)

    def aimed_boxes(self, outputs: np.ndarray, aim: Aim) -> list[np.ndarray]:
        """The box that is explained, of each image."""
        places = aim.weights.any(axis=-1)
        return [np.asarray(output)[place, :4] for output, place in zip(outputs, places, strict=True)]

    def judge(self, predictions: Iterable[Detections], examples: Examples, preprocessing: Preprocessing) -> Assessment:
        """COCO's figures, AP per class, and the images with the most that was missed or invented.

        Raises:
            InputError: a box has a class that the task does not have.
        """
        found = list(predictions)
        figures, per_class = coco_figures(found, examples.labels, self.class_names)
        mistakes = [self._mistakes(said, examples, index) for index, said in enumerate(found)]
        worst = sorted(range(len(found)), key=lambda index: -mistakes[index])[:WORST]
        sheet = self._sheet(
            [original(examples, index, preprocessing.channels) for index in worst],
            [found[index] for index in worst],
            [truth(examples.labels.targets(index)) for index in worst],
        )
        # Of images without mistakes those say most in which there was most to find.
        objects = [len(examples.labels.targets(index)) for index in range(len(found))]
        order = sorted(range(len(found)), key=lambda index: (-mistakes[index], objects[index]))
        return Assessment(figures, per_class, {"mistakes": evaluation.to_png(sheet)}, order)

    def kind(self, examples: Examples, index: int) -> str:
        """The class of most objects."""
        counts = self._tally(truth(examples.labels.targets(index)))
        return self.class_names[counts.argmax()] if counts.any() else "nothing"

    def present(
        self, image: np.ndarray, prediction: Detections, examples: Examples, index: int, side: int
    ) -> Presented:
        """Prediction and truth; what speaks for the surest box of a class that too many are shown of, else for the
        surest of all."""
        shown, there = prediction.above(self.shown_score), truth(examples.labels.targets(index))
        surplus = np.flatnonzero(self._tally(shown)[prediction.classes] > self._tally(there)[prediction.classes])
        asked = {}
        if len(prediction):
            rank = int(surplus[0]) if len(surplus) else 0
            asked[f"for {self.class_names[prediction.classes[rank]]} {prediction.scores[rank]:.0%}"] = rank
        drawn = {"prediction": shown, "truth": there}
        return Presented(
            {name: draw_detections(image, d, self.class_names, side=side, named=False) for name, d in drawn.items()},
            asked,
            f"objects missed or invented: {self._mistakes(prediction, examples, index)}",
            evaluation.legend_of([*shown.classes, *there.classes], self.class_names),
        )

    def _mistakes(self, said: Detections, examples: Examples, index: int) -> int:
        """How many objects more were shown or there than were both, by class."""
        there = self._tally(truth(examples.labels.targets(index)))
        return int(np.abs(there - self._tally(said.above(self.shown_score))).sum())

    def _tally(self, found: Detections) -> np.ndarray:
        """How many there are of each class: (C,)."""
        return np.bincount(found.classes, minlength=len(self.class_names))

    def _sheet(self, images: Sequence[np.ndarray], found: Sequence[Detections], there: Sequence[Detections]):
        """What was found beside what is there."""
        groups = [(said.above(self.shown_score), true) for said, true in zip(found, there, strict=True)]
        return detection_sheet(images, groups, ("prediction", "truth"), self.class_names, columns=2)

    def draw(self, images: np.ndarray, outputs: np.ndarray, targets: np.ndarray):
        """Prediction and truth side by side."""
        return self._sheet(pixels(images), detect(outputs, **self._thresholds()), [truth(rows) for rows in targets])

    def draw_targets(self, images: np.ndarray, targets: np.ndarray):
        """The boxes over the images."""
        groups = [(truth(rows),) for rows in targets]
        return detection_sheet(pixels(images), groups, ("truth",), self.class_names, columns=4)

    def overlay(self, image: np.ndarray, prediction: Detections) -> np.ndarray:
        """The image with its boxes, their classes and scores."""
        return draw_detections(image, prediction.above(self.shown_score), self.class_names)

    def describe(self, prediction: Detections, file: str, top: int) -> dict:
        """`{"file", "objects": [{"class", "score", "box": [x0, y0, x1, y1]}, ...]}`, the surest first."""
        shown = prediction.above(self.shown_score)
        objects = [
            {"class": self.class_names[c], "score": float(score), "box": [round(float(edge), 2) for edge in box]}
            for c, score, box in zip(shown.classes, shown.scores, shown.boxes, strict=True)
        ]
        return {"file": file, "objects": objects}

    def verdict(self, prediction: Detections, examples: Examples | None = None, index: int = 0) -> tuple[str, str]:
        """How many objects of each class were found, those that are sure enough to be shown."""
        said = self._counts(prediction.above(self.shown_score).classes)
        said = said or f"nothing surer than {100 * self.shown_score:.0f} %"
        if examples is None:
            return said, "black"
        return f"{said}\ntruth: {self._counts(truth(examples.labels.targets(index)).classes) or 'nothing'}", "black"

    def _counts(self, classes: np.ndarray) -> str:
        counts = np.bincount(classes, minlength=len(self.class_names))
        order = [index for index in np.argsort(-counts, kind="stable") if counts[index]]
        return ", ".join(f"{counts[index]} {self.class_names[index]}" for index in order)

    def records(self, row: Mapping) -> list[dict]:
        """A record an object: `file`, `class`, `score` and the box's corners in pixels."""
        return [
            dict(zip(self.columns, (row["file"], found["class"], f"{found['score']:.4f}", *found["box"]), strict=True))
            for found in row["objects"]
        ]

    def _thresholds(self) -> dict:
        return {name: getattr(self, name) for name in ("score_threshold", "iou_threshold", "max_detections")}


def _size(examples: Examples, index: int) -> tuple[int, int]:
    """Height and width of an image in its own pixels."""
    if examples.images is not None:
        return examples.images[index].shape[:2]
    return image_size(examples.paths[index] if examples.paths is not None else examples.encoded[index])

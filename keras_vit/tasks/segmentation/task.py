"""The segmentation task: a class for every pixel."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import keras
import numpy as np

from keras_vit import evaluation
from keras_vit.data import Examples, eval_dataset
from keras_vit.data.geometry import fill
from keras_vit.data.kinds import MASKS, LabelKind
from keras_vit.errors import InputError, suggest
from keras_vit.evaluation.assessment import Assessment
from keras_vit.evaluation.pictures import DPI
from keras_vit.preprocessing import Preprocessing
from keras_vit.tasks.explaining import Presented
from keras_vit.tasks.segmentation.balance import BALANCES, balanced_weights
from keras_vit.tasks.segmentation.inference import resized, slide, view_of
from keras_vit.tasks.segmentation.losses import SegmentationLoss
from keras_vit.tasks.segmentation.metrics import (
    PixelCounts,
    count_pixels,
    intersection_over_union,
    mean_iou,
    pixel_accuracy,
)
from keras_vit.tasks.segmentation.pictures import overlay, segmentation_sheet
from keras_vit.tasks.shipping import SMALLEST
from keras_vit.tasks.task import Outputs, Task, original, pixels, shown

ALONE_INCHES = (4.0, 6.0)
"""Least and most width of an image that is drawn alone: beside larger ones the words of the legend would be tiny."""
WORST = 8
"""So many of the worst images are drawn."""
TOLD = 2
"""So many classes of an image are told in its title."""


@dataclass(frozen=True)
class Segmentation(Task):
    """A class for every pixel.

    Outputs are logits (B, H, W, C); targets are (B, H, W) classes or `IGNORE`; a prediction is the class map (H, W) of
    an image in its own size.

    Attributes:
        class_weights: `median` or `sqrt` (see `balanced_weights`), C numbers, or None for one and the same.
        focal, dice, lovasz: see `SegmentationLoss`.
        zoom: how much larger than fitted into the model's input an image is looked at when it is judged; above 1 it is
            segmented window by window. `native` takes images in their own size.
        overlap: share of a window that its neighbours see too.
        mirrored: whether the mean is taken with what the model says of the mirrored image; twice the time.
    """

    class_weights: str | Sequence[float] | None = None
    focal: float = 0.0
    dice: float = 0.0
    lovasz: float = 0.0
    zoom: float | str = 1.0
    overlap: float = 0.5
    mirrored: bool = False

    labels: ClassVar[LabelKind] = MASKS
    batch_size: ClassVar[int] = 8
    goals: ClassVar[Mapping] = {"val_miou": max, "val_pixel_accuracy": max, "val_loss": min}
    fit: ClassVar[str] = "pad"

    def __post_init__(self):
        for name in ("focal", "dice", "lovasz"):
            if getattr(self, name) < 0:
                raise InputError(f"options.{name} is at least 0, not {getattr(self, name)}.")
        if isinstance(self.class_weights, str) and self.class_weights not in BALANCES:
            raise InputError(
                f"There are no class weights {self.class_weights!r}: {suggest(self.class_weights, BALANCES)}"
            )
        if not (self.zoom == "native" or (isinstance(self.zoom, (int, float)) and self.zoom > 0)):
            raise InputError(f"options.zoom is a number above 0 or native, not {self.zoom!r}.")
        if not 0 <= self.overlap < 1:
            raise InputError(f"options.overlap is at least 0 and below 1, not {self.overlap}.")

    def loss(self, model: keras.Model, examples: Examples, label_smoothing: float | None = None) -> keras.losses.Loss:
        """Cross-entropy per pixel and what the options add to it; labels are not smoothed unless told so."""
        weights = self.class_weights
        if isinstance(weights, str):
            weights = balanced_weights(examples.labels, len(self.class_names), weights)
        elif weights is not None and len(weights) != len(self.class_names):
            raise InputError(
                f"There are {len(weights)} class weights for {len(self.class_names)} classes: give one a class."
            )
        return SegmentationLoss(weights, label_smoothing or 0.0, self.focal, self.dice, self.lovasz)

    def metrics(self) -> list[keras.metrics.Metric]:
        """`miou` and `pixel_accuracy`, of all pixels at once."""
        return [PixelCounts(len(self.class_names), figure) for figure in ("miou", "pixel_accuracy")]

    def validation(
        self, outputs_of: Outputs, examples: Examples, preprocessing: Preprocessing, batch_size: int
    ) -> dict[str, float]:
        """`val_miou` and `val_pixel_accuracy` in place of the streamed ones, which see images fitted into the input,
        where the task looks at them otherwise."""
        if self.zoom == 1 and not self.mirrored:
            return {}
        said = self.predictions(outputs_of, examples, preprocessing, batch_size=batch_size, progress=False)
        classes = len(self.class_names)
        counts = sum(count_pixels(examples.labels.read(i), predicted, classes) for i, predicted in enumerate(said))
        return {"val_miou": mean_iou(counts), "val_pixel_accuracy": pixel_accuracy(counts)}

    def predictions(
        self,
        outputs_of: Outputs,
        examples: Examples,
        preprocessing: Preprocessing,
        *,
        batch_size: int = 64,
        progress: bool = True,
    ) -> Iterator[np.ndarray]:
        """The class map of each image in its own size."""

        def both(images):
            if not self.mirrored:
                return outputs_of(images)
            return (outputs_of(images) + outputs_of(images[:, :, ::-1])[:, :, ::-1]) / 2

        beyond = fill(preprocessing).numpy()
        for index in shown(range(len(examples)), len(examples), progress):
            image = original(examples, index, preprocessing.channels)
            view = view_of(image, preprocessing, self.zoom)
            probabilities = slide(
                both, view, preprocessing.image_size, overlap=self.overlap, fill=beyond, batch_size=batch_size
            )
            yield resized(probabilities, image.shape[:2]).argmax(-1).astype("int32")

    def of_file(self, outputs: np.ndarray) -> np.ndarray:
        """Logarithms of a file's probabilities (n, H, W, C): the logits, up to a number per pixel."""
        return np.log(np.maximum(outputs, SMALLEST))

    def score(self, outputs: np.ndarray, examples: Examples, preprocessing: Preprocessing) -> float:
        """mIoU over the pixels of the model's input, as in validation while training: nothing is enlarged again."""
        counts = np.zeros((len(self.class_names),) * 2, "int64")
        batches = eval_dataset(
            examples, preprocessing, labels=self.labels, num_classes=len(self.class_names), batch_size=1
        )
        for output, (_, targets) in zip(outputs, batches, strict=True):
            counts += count_pixels(targets[0].numpy(), output.argmax(-1), len(self.class_names))
        return mean_iou(counts)

    def draw_both(self, image: np.ndarray, source: np.ndarray, output: np.ndarray):
        """The class maps side by side."""
        maps = [(source.argmax(-1), output.argmax(-1))]
        return segmentation_sheet(pixels(image[None]), maps, ("source", "file"), self.class_names)

    def judge(self, predictions: Iterable[np.ndarray], examples: Examples, preprocessing: Preprocessing) -> Assessment:
        """`miou pixel_accuracy n`, IoU per class, the pixels' confusion matrix and the images with the most errors.

        Raises:
            InputError: a mask has a class that the task does not have.
        """
        names, classes = self.class_names, len(self.class_names)
        counts, worst, shares = np.zeros((classes, classes), "int64"), [], []
        for index, predicted in enumerate(predictions):
            truth = examples.labels.read(index)
            if truth.max() >= classes:
                raise InputError(
                    f"The mask of {examples.names[index]} has the class {truth.max()}, but there are {classes} "
                    "classes, counted from 0: judge on data with the model's classes."
                )
            found = count_pixels(truth, predicted, classes)
            counts += found
            shares.append(pixel_accuracy(found))
            entry = (1 - shares[-1], -index, predicted)
            (heapq.heappush if len(worst) < WORST else heapq.heappushpop)(worst, entry)
        worst.sort(reverse=True)
        pictures = {
            "confusion": evaluation.to_png(evaluation.confusion_figure(counts, names)),
            "mistakes": evaluation.to_png(self._sheet(examples, worst, preprocessing)),
        }
        figures = {"miou": mean_iou(counts), "pixel_accuracy": pixel_accuracy(counts), "n": len(examples)}
        return Assessment(figures, self._per_class(counts), pictures, np.argsort(shares, kind="stable"))

    def kind(self, examples: Examples, index: int) -> str:
        """The class of most pixels."""
        mask = examples.labels.read(index)
        return self.class_names[np.bincount(mask[mask >= 0]).argmax()] if (mask >= 0).any() else "nothing"

    def present(
        self, image: np.ndarray, prediction: np.ndarray, examples: Examples, index: int, side: int
    ) -> Presented:
        """Prediction and truth; what speaks for the class that fits its truth worst (of two alike the smaller one)
        among those that take a hundredth of the image."""
        truth = examples.labels.read(index)
        counts = count_pixels(truth, prediction, len(self.class_names))
        overlap, union = intersection_over_union(counts), counts.sum(0) + counts.sum(1) - np.diag(counts)
        matter = np.flatnonzero(union >= max(1, counts.sum() / 100))
        asked = min(map(int, matter), key=lambda c: (overlap[c], union[c]), default=int(prediction.flat[0]))
        photo = evaluation.sized(image, side)
        # Classes have no values in between: each pixel of the picture takes that of the place it shows.
        rows, columns = (
            ((np.arange(shown) + 0.5) * own / shown).astype(int)
            for shown, own in zip(photo.shape[:2], image.shape[:2], strict=True)
        )
        maps = {"prediction": prediction, "truth": truth}
        return Presented(
            {name: overlay(photo, found[rows][:, columns], len(self.class_names)) for name, found in maps.items()},
            {f"for {self.class_names[asked]}": asked},
            f"{pixel_accuracy(counts):.1%} of the pixels right",
            evaluation.legend_of({c for found in maps.values() for c in np.unique(found) if c >= 0}, self.class_names),
        )

    def _per_class(self, counts: np.ndarray) -> list[dict]:
        right, truth, said = np.diag(counts), counts.sum(1), counts.sum(0)
        columns = {"iou": intersection_over_union(counts)}
        for name, total in (("precision", said), ("recall", truth)):
            columns[name] = np.divide(right, total, out=np.full(len(right), np.nan), where=total > 0)
        return [
            {
                "name": name,
                **{key: None if np.isnan(values[c]) else float(values[c]) for key, values in columns.items()},
                "pixels": int(truth[c]),
            }
            for c, name in enumerate(self.class_names)
        ]

    def _sheet(self, examples: Examples, worst: Sequence[tuple], preprocessing: Preprocessing):
        """The worst images: share of wrong pixels, minus index, class map."""
        images = [original(examples, -index, preprocessing.channels) for _, index, _ in worst]
        maps = [(predicted, examples.labels.read(-index)) for _, index, predicted in worst]
        titles = [f"{share:.0%} wrong" for share, _, _ in worst]
        return segmentation_sheet(images, maps, ("prediction", "truth"), self.class_names, titles=titles, columns=2)

    def draw(self, images: np.ndarray, outputs: np.ndarray, targets: np.ndarray):
        """Prediction and truth side by side."""
        maps = list(zip(outputs.argmax(-1), targets, strict=True))
        return segmentation_sheet(pixels(images), maps, ("prediction", "truth"), self.class_names, columns=2)

    def draw_targets(self, images: np.ndarray, targets: np.ndarray):
        """Classes over the images."""
        return segmentation_sheet(pixels(images), [(t,) for t in targets], ("truth",), self.class_names, columns=4)

    def overlay(self, image: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """The image with its classes, and their legend below."""
        least, most = ALONE_INCHES
        inches = min(max(image.shape[1] / DPI, least), most)
        sheet = segmentation_sheet([image], [(prediction,)], ("",), self.class_names, inches=inches)
        return evaluation.to_array(sheet)

    def describe(self, prediction: np.ndarray, file: str, top: int) -> dict:
        """`{"file", "height", "width", "shares": {class: share of the pixels, ...}}`, the largest first."""
        shares = np.bincount(prediction.ravel(), minlength=len(self.class_names)) / prediction.size
        order = [index for index in np.argsort(-shares, kind="stable") if shares[index] > 0]
        height, width = prediction.shape
        told = {self.class_names[index]: float(shares[index]) for index in order}
        return {"file": file, "height": height, "width": width, "shares": told}

    def verdict(self, prediction: np.ndarray, examples: Examples | None = None, index: int = 0) -> tuple[str, str]:
        """The classes that cover most of the image."""
        said = self._covers(prediction)
        if examples is None:
            return said, "black"
        truth = examples.labels.read(index)
        return f"{said}\ntruth: {self._covers(truth[truth >= 0])}", "black"

    def _covers(self, classes: np.ndarray) -> str:
        shares = np.bincount(classes.ravel(), minlength=len(self.class_names)) / max(classes.size, 1)
        order = [index for index in np.argsort(-shares, kind="stable")[:TOLD] if shares[index] > 0]
        return ", ".join(f"{self.class_names[index]} {100 * shares[index]:.0f} %" for index in order) or "nothing"

    def records(self, row: Mapping) -> list[dict]:
        """A record a class that is seen: `file`, `class` and `share` of the pixels."""
        return [{"file": row["file"], "class": name, "share": f"{share:.4f}"} for name, share in row["shares"].items()]

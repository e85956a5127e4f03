"""Runs an exported .tflite file on photos. Needs ai-edge-litert, numpy and pillow, and nothing else.

python predict.py model.tflite photo.jpg another.png
python predict.py detector.tflite photo.jpg --draw out/

The file carries its labels, its task and how a photo becomes its input, as `keras-vit export` writes them. Classes are
printed for a classifier, boxes for a detector, and for a segmenter how much of the photo each class covers.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageOps, UnidentifiedImageError

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"),
    *("#F0E442", "#7F3C8D", "#8B4513", "#32CD32", "#B22222", "#708090"),
)
"""Of the classes, in turns."""
SHOWN_SCORE = 0.3
"""What a detector is less sure of is not shown, unless its file says otherwise."""


class Mistake(Exception):
    """A sentence for the person at the keyboard."""


class Model:
    """An exported model.

    Args:
        path: the .tflite file.
        threads: that compute.

    Raises:
        Mistake: the file is missing, does not load, does not carry labels and preprocessing, or has another task.
    """

    def __init__(self, path: str, threads: int = 2):
        from ai_edge_litert.interpreter import Interpreter

        if not Path(path).is_file():
            raise Mistake(f"There is no file {path}.")
        try:
            self.interpreter = Interpreter(model_path=path, num_threads=threads)
            self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise Mistake(f"{path} does not load as a .tflite file: {str(error).splitlines()[0]}") from error
        try:
            with zipfile.ZipFile(path) as archive:
                self.labels = archive.read("labels.txt").decode().splitlines()
                self.record = json.loads(archive.read("preprocessing.json"))
                told = json.loads(archive.read("task.json")) if "task.json" in archive.namelist() else {}
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            raise Mistake(f"{path} does not say its labels and preprocessing: export it with keras-vit.") from error
        self.task, self.options = told.get("name", "classification"), told.get("options", {})
        if self.task not in SHOWN:
            raise Mistake(f"{path} was trained for {self.task}; this script knows {', '.join(SHOWN)}.")
        [self.input] = self.interpreter.get_input_details()
        self.outputs = self.interpreter.get_signature_runner("serving_default").get_output_details()
        scores = self.outputs["scores" if self.task == "detection" else "probabilities"]
        if scores["shape"][-1] != len(self.labels):
            raise Mistake(f"{path} has {len(self.labels)} labels for {scores['shape'][-1]} scores: export it again.")

    def __call__(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs for an image (H, W, channels) of whole numbers 0..255, by name: `probabilities` (C,) or
        (H, W, C); or `boxes` (A, 4), corners in pixels of the input, and `scores` (A, C)."""
        self.interpreter.set_tensor(self.input["index"], quantize(pixels[None], self.input))
        self.interpreter.invoke()
        tensors = {name: self.interpreter.get_tensor(each["index"])[0] for name, each in self.outputs.items()}
        return {name: dequantize(values, self.outputs[name]) for name, values in tensors.items()}


def quantize(pixels: np.ndarray, tensor: dict) -> np.ndarray:
    """Pixels 0..255 as the numbers that an input takes."""
    scale, zero = tensor["quantization"]
    if not scale:
        return pixels.astype(tensor["dtype"])
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.round(pixels / scale + zero), limits.min, limits.max).astype(tensor["dtype"])


def dequantize(values: np.ndarray, tensor: dict) -> np.ndarray:
    """The real numbers that an output means."""
    scale, zero = tensor["quantization"]
    return (values.astype(np.float32) - zero) * scale if scale else values


def read_image(path: str, channels: int) -> Image.Image:
    """An upright image of 8 bits, grey or RGB.

    Raises:
        Mistake: the file is missing or no image.
    """
    try:
        with Image.open(path) as image:
            if image.format in ("JPEG", "MPO"):
                image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I;16"):
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            return image.convert("RGB").convert("L" if channels == 1 else "RGB")
    except FileNotFoundError as error:
        raise Mistake(f"There is no photo {path}.") from error
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise Mistake(f"{path} cannot be read as an image: {error}") from error


def place(image: Image.Image, record: dict) -> tuple[tuple[int, int], tuple[int, int]]:
    """Height and width that an image is resized to, and the row and the column of it where the model's view begins.

    With `"fit": "crop"` the image keeps its aspect ratio and covers size / crop; with `"squash"` each side is resized;
    with `"pad"` the image keeps its aspect ratio inside the size.
    """
    size, shape = record["image_size"], (image.height, image.width)
    target = [math.floor(side / record["crop"]) for side in size]
    if record["fit"] == "squash":
        resized = target
    elif record["fit"] == "pad":
        ratio = min(side / own for side, own in zip(target, shape, strict=True))
        return tuple(max(1, round(own * ratio)) for own in shape), (0, 0)
    elif target[0] == target[1]:
        resized = [target[0] * own // min(shape) for own in shape]
    else:
        ratio = min(own / side for side, own in zip(target, shape, strict=True))
        resized = [round(own / ratio) for own in shape]
    return tuple(resized), tuple(round((own - side) / 2) for side, own in zip(size, resized, strict=True))


def fit(image: Image.Image, record: dict) -> np.ndarray:
    """The model's view of an image, (H, W, channels) uint8; the record's mean colour where the image does not reach."""
    (height, width), ((rows, columns), (top, left)) = record["image_size"], place(image, record)
    # The rows first, always: Pillow from version 13 on would begin with the columns of some tall images.
    method = FILTERS[record["interpolation"]]
    image = image.resize((columns, image.height), method).resize((columns, rows), method)
    view = np.empty((height, width, len(record["mean"])), np.uint8)
    view[:] = [round(255 * channel) for channel in record["mean"]]
    seen = np.asarray(image).reshape(rows, columns, -1)[top : top + height, left : left + width]
    view[: len(seen), : seen.shape[1]] = seen
    return view


def found_objects(
    boxes: np.ndarray, scores: np.ndarray, *, score_threshold: float, iou_threshold: float, max_detections: int
) -> list[tuple[float, int, np.ndarray]]:
    """What is left after non-maximum suppression in each class: score, class and box, the surest first.

    Args:
        boxes: (A, 4): x0, y0, x1, y1.
        scores: (A, C).
        score_threshold: what is not above is nothing.
        iou_threshold: boxes that overlap a surer one of their class by more are the same object.
        max_detections: at most.
    """
    found = []
    for index, column in enumerate(scores.T):
        rows = np.flatnonzero(column > score_threshold)
        rows = rows[np.argsort(-column[rows], kind="stable")]
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        for _ in range(max_detections):
            if not len(rows):
                break
            first, rows = rows[0], rows[1:]
            found.append((float(column[first]), index, boxes[first]))
            sides = np.minimum(boxes[first, 2:], boxes[rows, 2:]) - np.maximum(boxes[first, :2], boxes[rows, :2])
            shared = np.maximum(sides, 0).prod(-1)
            rows = rows[shared <= iou_threshold * (areas[first] + areas[rows] - shared)]
    return sorted(found, key=lambda each: -each[0])[:max_detections]


def show_classes(model: Model, image: Image.Image, outputs: dict, top: int) -> Image.Image:
    """Prints the most probable classes."""
    probabilities = outputs["probabilities"]
    for index in np.argsort(-probabilities, kind="stable")[:top]:
        print(f"  {probabilities[index]:6.1%}  {model.labels[index]}")
    return image


def show_objects(model: Model, image: Image.Image, outputs: dict, top: int) -> Image.Image:
    """Prints objects with their boxes x0, y0, x1, y1 in pixels of the photo, and draws them."""
    defaults = {"score_threshold": 0.01, "iou_threshold": 0.5, "max_detections": 100}
    thresholds = {name: model.options.get(name, default) for name, default in defaults.items()}
    (rows, columns), (top_row, left) = place(image, model.record)
    drawn = image.convert("RGB")
    pen = ImageDraw.Draw(drawn)
    for score, index, box in found_objects(outputs["boxes"], outputs["scores"], **thresholds):
        if score < model.options.get("shown_score", SHOWN_SCORE):
            break
        corners = (box + np.tile([left, top_row], 2)) * np.tile([image.width / columns, image.height / rows], 2)
        corners = np.clip(corners, 0, np.tile(image.size, 2)).tolist()
        print(f"  {score:6.1%}  {model.labels[index]}  {', '.join(f'{edge:.1f}' for edge in corners)}")
        text, corner, colour = f"{model.labels[index]} {score:.0%}", corners[:2], COLOURS[index % len(COLOURS)]
        pen.rectangle(corners, outline=colour, width=2)
        pen.rectangle(pen.textbbox(corner, text), fill=colour)
        pen.text(corner, text, fill="white")
    return drawn


def show_areas(model: Model, image: Image.Image, outputs: dict, top: int) -> Image.Image:
    """Prints how much of the photo each class covers, and draws the classes over it."""
    classes = outputs["probabilities"].argmax(-1)
    shape, (resized, start) = (image.height, image.width), place(image, model.record)
    at = [(np.arange(shape[axis]) + 0.5) * resized[axis] / shape[axis] - start[axis] for axis in (0, 1)]
    # What the model did not see, because it was cut off, is taken for what lies beside it.
    rows, columns = (np.clip(at[axis], 0, classes.shape[axis] - 1).astype(int) for axis in (0, 1))
    classes = classes[np.ix_(rows, columns)]
    counts = np.bincount(classes.ravel(), minlength=len(model.labels))
    for index in np.argsort(-counts, kind="stable")[:top]:
        print(f"  {counts[index] / classes.size:6.1%}  {model.labels[index]}")
    colours = [ImageColor.getrgb(COLOURS[index % len(COLOURS)]) for index in range(len(model.labels))]
    return Image.blend(image.convert("RGB"), Image.fromarray(np.array(colours, np.uint8)[classes]), 0.5)


SHOWN = {"classification": show_classes, "detection": show_objects, "segmentation": show_areas}
"""Task of a file -> what is printed and drawn of its outputs."""


def main() -> int:
    """Says what the file sees in each photo. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Runs an exported .tflite file on photos.")
    parser.add_argument("model", help="the .tflite file")
    parser.add_argument("photos", nargs="+", metavar="photo")
    parser.add_argument("--top", type=int, default=5, help="how many classes to print (default: 5)")
    parser.add_argument("--threads", type=int, default=2, help="that compute (default: 2)")
    parser.add_argument("--draw", metavar="FOLDER", help="write each photo with boxes or classes over it")
    arguments = parser.parse_args()
    try:
        model = Model(arguments.model, arguments.threads)
    except Mistake as mistake:
        print(mistake, file=sys.stderr)
        return 2
    status = 0
    for path in arguments.photos:
        try:
            image = read_image(path, len(model.record["mean"]))
        except Mistake as mistake:
            print(mistake, file=sys.stderr)
            status = 2
            continue
        pixels = fit(image, model.record)
        start = time.perf_counter()
        outputs = model(pixels)
        print(f"{path}  ({1000 * (time.perf_counter() - start):.0f} ms)")
        drawn = SHOWN[model.task](model, image, outputs, arguments.top)
        if arguments.draw:
            file = Path(arguments.draw) / f"{Path(path).stem}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            drawn.save(file)
            print(f"  {file}")
    return status


if __name__ == "__main__":
    sys.exit(main())

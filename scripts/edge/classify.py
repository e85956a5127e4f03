"""Classifies photos with an exported .tflite file. Needs ai-edge-litert, numpy and pillow, and nothing else.

python classify.py model.tflite photo.jpg another.png

The file carries its labels and how a photo becomes its input, as `keras-vit export` writes them.
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
from PIL import Image, ImageOps, UnidentifiedImageError

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


class Mistake(Exception):
    """A sentence for the person at the keyboard."""


class Classifier:
    """An exported classifier.

    Args:
        path: the .tflite file.
        threads: that compute.

    Raises:
        Mistake: the file is missing, does not load, or does not carry labels and preprocessing.
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
        if told.get("name", "classification") != "classification":
            raise Mistake(f"{path} was trained for {told['name']}, this script classifies: use `keras-vit predict`.")
        [self.input], [self.output] = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        if self.output["shape"][-1] != len(self.labels):
            raise Mistake(
                f"{path} has {len(self.labels)} labels for {self.output['shape'][-1]} scores: export it again."
            )

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Probabilities (C,) of an image (H, W, channels) of whole numbers 0..255."""
        self.interpreter.set_tensor(self.input["index"], quantize(pixels[None], self.input))
        self.interpreter.invoke()
        return dequantize(self.interpreter.get_tensor(self.output["index"])[0], self.output)


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


def fit(image: Image.Image, record: dict) -> np.ndarray:
    """The model's view of an image, (H, W, channels) uint8: resized, and its centre cut out, as the record says.

    With `"fit": "crop"` the image keeps its aspect ratio and covers size / crop; with `"squash"` each side is resized;
    with `"pad"` the image keeps its aspect ratio inside the size, and the mean colour is to its right and below.
    """
    height, width = record["image_size"]
    target = [math.floor(side / record["crop"]) for side in (height, width)]
    if record["fit"] == "squash":
        resized = target
    elif record["fit"] == "pad":
        ratio = min(target[0] / image.height, target[1] / image.width)
        resized = [max(1, round(image.height * ratio)), max(1, round(image.width * ratio))]
    elif target[0] == target[1]:
        resized = [target[0] * side // min(image.size) for side in (image.height, image.width)]
    else:
        ratio = min(image.height / target[0], image.width / target[1])
        resized = [round(image.height / ratio), round(image.width / ratio)]
    # The rows first, always: Pillow from version 13 on would begin with the columns of some tall images.
    method = FILTERS[record["interpolation"]]
    image = image.resize((resized[1], image.height), method).resize((resized[1], resized[0]), method)
    if record["fit"] == "pad":
        beyond = tuple(round(255 * channel) for channel in record["mean"])
        pixels = np.full((height, width, len(beyond)), beyond, np.uint8)
        pixels[: resized[0], : resized[1]] = np.asarray(image).reshape(*resized, -1)
        return pixels
    top, left = round((resized[0] - height) / 2), round((resized[1] - width) / 2)
    pixels = np.asarray(image.crop((left, top, left + width, top + height)))
    return pixels.reshape(height, width, -1)


def show(path: str, probabilities: np.ndarray, labels: list[str], top: int, seconds: float) -> None:
    """Prints the most probable classes."""
    print(f"{path}  ({1000 * seconds:.0f} ms)")
    for index in np.argsort(-probabilities, kind="stable")[:top]:
        print(f"  {probabilities[index]:6.1%}  {labels[index]}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Classifies photos with an exported .tflite file.")
    parser.add_argument("model", help="the .tflite file")
    parser.add_argument("photos", nargs="+", metavar="photo")
    parser.add_argument("--top", type=int, default=5, help="how many classes to print (default: 5)")
    parser.add_argument("--threads", type=int, default=2, help="that compute (default: 2)")
    arguments = parser.parse_args()
    try:
        classifier = Classifier(arguments.model, arguments.threads)
    except Mistake as mistake:
        print(mistake, file=sys.stderr)
        return 2
    status = 0
    for path in arguments.photos:
        try:
            pixels = fit(read_image(path, len(classifier.record["mean"])), classifier.record)
        except Mistake as mistake:
            print(mistake, file=sys.stderr)
            status = 2
            continue
        start = time.perf_counter()
        probabilities = classifier(pixels)
        show(path, probabilities, classifier.labels, arguments.top, time.perf_counter() - start)
    return status


if __name__ == "__main__":
    sys.exit(main())

"""What a `.tflite` file says about itself: labels, preprocessing and licence, in the form that MediaPipe Tasks read.

A classifier with it runs unchanged in MediaPipe's image classifier, a segmenter in its image segmenter (Python,
Android, iOS, web), and every other runtime reads the same file as before. Beside `labels.txt` the file carries
`preprocessing.json`, our whole record, because MediaPipe knows neither crops nor interpolation, and `task.json`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from keras_vit.errors import InputError, suggest
from keras_vit.export import metadata_schema as schema
from keras_vit.export.metadata_outputs import LABELS, MEDIAPIPE_TYPES, Tensor, outputs_metadata
from keras_vit.export.tflite_file import opened, read_buffer, read_files, write_parts
from keras_vit.preprocessing import Preprocessing

BUFFER = "TFLITE_METADATA"
PREPROCESSING = "preprocessing.json"
TASK = "task.json"


@dataclass(frozen=True)
class Metadata:
    """What a `.tflite` file says about itself; empty where it says nothing.

    Attributes:
        name: of the model.
        description: one or two sentences.
        version: of the model.
        author: who made it.
        license: name or text of the licence.
        class_names: of the scores, in order.
        preprocessing: how images become the pixels that the file takes.
        mean: per channel or one for all, in the units of pixels 0..255: a float input takes `(pixel - mean) / std`.
        std: likewise; both are empty where pixels go in as they are read.
        task: `{"name", "options"}` of what the model was trained for; None where the file does not say.
    """

    name: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    license: str = ""
    class_names: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    task: Mapping | None = None


def add_metadata(
    path: str | os.PathLike,
    *,
    name: str,
    class_names: Sequence[str],
    preprocessing: Preprocessing,
    description: str = "",
    version: str = "",
    author: str = "",
    license: str = "",
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    task: str = "classification",
    options: Mapping | None = None,
) -> None:
    """Writes metadata, labels and the preprocessing record into a `.tflite` file, in place of those that it has.

    The network and its weights stay byte for byte what they are. A file of any size is replaced whole or not at all.

    Args:
        path: of a file with one image input (1, H, W, channels) and the task's outputs, each float32 or uint8; one
            output of a classifier (1, C) or a segmenter (1, H, W, C).
        name: of the model.
        class_names: C names.
        preprocessing: the model's record; its image size and channels are those of the input.
        description: one or two sentences.
        version: of the model.
        author: who made it.
        license: name or text of the licence of the weights.
        mean: what a float32 input wants subtracted from pixels 0..255, per channel or one for all. Our exported files
            normalise inside.
        std: what it wants them divided by afterwards.
        task: what the model was trained for, a key of `keras_vit.tasks.TASKS`.
        options: the task's settings; with them the file says what it was trained for.

    Raises:
        InputError: the file is missing or no TFLite file; names or record do not fit it; its input or output is of a
            type that MediaPipe does not take; the task is not known.
    """
    from keras_vit.tasks import TASKS

    path = Path(path)
    if task not in TASKS:
        raise InputError(f"There is no metadata for the task {task!r}: {suggest(task, TASKS)}")
    inputs, outputs = tensors(path)
    if len(inputs) != 1:
        raise InputError(f"{path} has {len(inputs)} inputs: give a file that takes one image.")
    [image] = inputs
    _check_image(path, image, preprocessing)
    texts = {"name": name, "description": description, "version": version, "author": author, "license": license}
    record = {key: text for key, text in texts.items() if text}
    record["min_parser_version"] = schema.PARSER_VERSION
    record["associated_files"] = [
        {"name": PREPROCESSING, "description": "The preprocessing record of keras_vit: size, crop, interpolation."}
    ]
    record["subgraph_metadata"] = [
        {
            "input_tensor_metadata": [_image_metadata(image, mean, std)],
            **outputs_metadata(task, path, outputs, class_names),
        }
    ]
    files = {LABELS: "".join(f"{label}\n" for label in class_names), PREPROCESSING: json.dumps(preprocessing.to_dict())}
    if options is not None:
        files[TASK] = json.dumps({"name": task, "options": options})
    write_parts(path, BUFFER, schema.pack(record), {file: text.encode() for file, text in files.items()})


def read_metadata(path: str | os.PathLike) -> Metadata:
    """What a `.tflite` file says about itself, whoever wrote it.

    Raises:
        InputError: the file is missing, no TFLite file, or damaged.
    """
    path = Path(path)
    packed, files = read_buffer(path, BUFFER), read_files(path)
    try:
        record = schema.unpack(packed) if packed else {}
        stored = json.loads(files[PREPROCESSING]) if PREPROCESSING in files else None
        preprocessing = Preprocessing(**stored) if stored else None
        task = json.loads(files[TASK]) if TASK in files else None
        subgraph = (record.get("subgraph_metadata") or [{}])[0]
        labels = _labels(subgraph.get("output_tensor_metadata", []), files)
    except (ValueError, TypeError) as error:
        raise InputError(f"The metadata in {path} cannot be read ({error}): export the file again.") from error
    return Metadata(
        **{key: record.get(key, "") for key in ("name", "description", "version", "author", "license")},
        class_names=labels,
        preprocessing=preprocessing,
        task=task,
        **_normalization(subgraph.get("input_tensor_metadata", [])),
    )


def tensors(path: str | os.PathLike) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs and outputs of a `.tflite` file, in the order of its main subgraph.

    Outputs are called as in its signature, where it has one.

    Raises:
        InputError: the file is missing, no TFLite file, or damaged.
    """
    from ai_edge_litert import schema_py_generated as tflite

    types = {number: name.lower() for name, number in vars(tflite.TensorType).items() if not name.startswith("_")}

    def tensor(graph, index):
        entry = graph.Tensors(index)
        quantization = entry.Quantization()
        quantized = quantization is not None and quantization.ScaleLength() == 1
        return Tensor(
            entry.Name().decode("utf-8", "replace"),
            tuple(entry.Shape(axis) for axis in range(entry.ShapeLength())),
            types[entry.Type()],
            quantization.Scale(0) if quantized else None,
            quantization.ZeroPoint(0) if quantized and quantization.ZeroPointLength() else 0,
        )

    with opened(Path(path)) as content:
        model = tflite.Model.GetRootAs(content, 0)
        graph, names = model.Subgraphs(0), {}
        if model.SignatureDefsLength():
            maps = [model.SignatureDefs(0).Outputs(i) for i in range(model.SignatureDefs(0).OutputsLength())]
            names = {each.TensorIndex(): each.Name().decode("utf-8", "replace") for each in maps}
        inputs = [tensor(graph, graph.Inputs(i)) for i in range(graph.InputsLength())]
        outputs = [graph.Outputs(i) for i in range(graph.OutputsLength())]
        found = [(index, tensor(graph, index)) for index in outputs]
        return inputs, [replace(each, name=names.get(index, each.name)) for index, each in found]


def _check_image(path: Path, image: Tensor, preprocessing: Preprocessing) -> None:
    if image.dtype not in MEDIAPIPE_TYPES:
        raise InputError(
            f"{path} takes {image.dtype}, but MediaPipe gives float32 or uint8: convert it for uint8 pixels."
        )
    if image.dtype == "uint8" and (image.zero_point != 0 or abs(255 * (image.scale or 1.0) - 255) > 1):
        raise InputError(
            f"{path} takes uint8 in steps of {image.scale:.4g} with zero point {image.zero_point}, but MediaPipe gives "
            "plain pixels: calibrate it on images that hold both 0 and 255."
        )
    expected = (1, *preprocessing.image_size, preprocessing.channels)
    if image.shape != expected:
        raise InputError(
            f"{path} takes {image.shape}, but the preprocessing record gives {expected}: give its own record."
        )


def _image_metadata(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> dict:
    if len(mean) != len(std) or len(mean) not in (1, image.shape[-1]):
        raise InputError(
            f"mean {tuple(mean)} and std {tuple(std)} do not fit {image.shape[-1]} channels: give one for all."
        )
    ends = [[(pixel - m) / s for m, s in zip(mean, std, strict=True)] for pixel in (0, 255)]
    about = {
        "name": "image",
        "description": f"An image of {image.shape[2]} x {image.shape[1]} pixels (width x height), 0 to 255.",
        "content": {"properties": {"ImageProperties": {"color_space": schema.COLOUR_SPACES[image.shape[-1]]}}},
    }
    if image.dtype == "uint8":
        return about | {"stats": {"min": [0.0], "max": [255.0]}}
    normalization = {"NormalizationOptions": {"mean": list(mean), "std": list(std)}}
    return about | {"process_units": [{"options": normalization}], "stats": {"min": ends[0], "max": ends[1]}}


def _labels(outputs: list[dict], files: dict[str, bytes]) -> tuple[str, ...]:
    """The lines of the file that names an output's last axis."""
    named = [file for output in outputs for file in output.get("associated_files", [])]
    file = next((file["name"] for file in named if file.get("type") == schema.LABELS_FILE), LABELS)
    return tuple(files.get(file, b"").decode("utf-8").splitlines())


def _normalization(inputs: list[dict]) -> dict:
    units = [unit["options"] for tensor in inputs[:1] for unit in tensor.get("process_units", []) if "options" in unit]
    values = next((unit["NormalizationOptions"] for unit in units if "NormalizationOptions" in unit), {})
    return {key: tuple(values.get(key, ())) for key in ("mean", "std")}

"""SavedModel: an image tensor or encoded image files in, what the task's files give out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from keras_vit.data.decode import decode
from keras_vit.data.geometry import resize_and_crop
from keras_vit.export.graph import ExportGraph, named
from keras_vit.preprocessing import Preprocessing
from keras_vit.tasks.task import Task, describe_task


def write_saved_model(
    graph: ExportGraph,
    path: Path,
    *,
    class_names: Sequence[str],
    preprocessing: Preprocessing,
    task: Task | None = None,
) -> None:
    """Writes a folder that TensorFlow loads without Keras or this package.

    Signatures, each returning a dict:

    - `serving_default` (also the method `serve`): `image` float32 (B, H, W, channels), pixels 0..255 -> the graph's
      outputs, such as `probabilities` (B, C).
    - `serve_bytes`: `encoded` string (B,), whole JPEG, PNG, WebP, BMP or GIF files -> the same. Decoding, EXIF
      orientation, and the resizing and cropping that the record asks for are inside.
    - those that the task adds: `image` as above -> for instance `boxes`, `scores`, `classes` and `count` of what a
      detector finds.
    - `labels`: nothing -> `labels` string (C,), the class names.
    - `about`: nothing -> `preprocessing` and `task`, strings: the record and the task as JSON objects.

    Args:
        graph: what `export_graph` returns.
        path: of the folder, which must not exist.
        class_names: C names.
        preprocessing: how the files in `serve_bytes` become the model's pixels.
        task: what the model was trained for.
    """

    pixels = tf.TensorSpec((*preprocessing.image_size, preprocessing.channels), tf.float32)
    images = tf.TensorSpec((None, *pixels.shape), tf.float32, name="image")
    about_it = {"preprocessing": json.dumps(preprocessing.to_dict())}
    if task:
        about_it["task"] = json.dumps(describe_task(task))

    def view(encoded):
        return resize_and_crop(decode(encoded, preprocessing.channels), preprocessing)

    @tf.function(input_signature=[images])
    def serve(image):
        return named(graph(image))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="encoded")])
    def serve_bytes(encoded):
        return named(graph(tf.map_fn(view, encoded, fn_output_signature=pixels)))

    @tf.function(input_signature=[])
    def labels():
        return {"labels": tf.constant(list(class_names))}

    @tf.function(input_signature=[])
    def about():
        return {key: tf.constant(text) for key, text in about_it.items()}

    def finished(finish):
        return tf.function(lambda image: finish(graph(image)), input_signature=[images])

    module = tf.Module()
    module.graph, module.serve, module.serve_bytes = graph, serve, serve_bytes
    module.labels, module.about = labels, about
    signatures = {"serving_default": serve, "serve_bytes": serve_bytes, "labels": labels, "about": about}
    signatures |= {name: finished(finish) for name, finish in (task.served() if task else {}).items()}
    tf.saved_model.save(module, path, signatures)

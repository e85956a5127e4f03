"""SavedModel: an image tensor or encoded image files in, class probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from keras_vit.data.decode import decode
from keras_vit.data.geometry import resize_and_crop
from keras_vit.export.graph import OUTPUT, ExportGraph
from keras_vit.preprocessing import Preprocessing


def write_saved_model(
    graph: ExportGraph, path: Path, *, class_names: Sequence[str], preprocessing: Preprocessing
) -> None:
    """Writes a folder that TensorFlow loads without Keras or this package.

    Signatures, each returning a dict:

    - `serving_default` (also the method `serve`): `image` float32 (B, H, W, channels), pixels 0..255 ->
      `probabilities` (B, C).
    - `serve_bytes`: `encoded` string (B,), whole JPEG, PNG, WebP, BMP or GIF files -> `probabilities` (B, C). Decoding,
      EXIF orientation, and the resizing and cropping that the record asks for are inside.
    - `labels`: nothing -> `labels` string (C,), the class names.

    Args:
        graph: what `export_graph` returns.
        path: of the folder, which must not exist.
        class_names: C names.
        preprocessing: how the files in `serve_bytes` become the model's pixels.
    """

    pixels = tf.TensorSpec((*preprocessing.image_size, preprocessing.channels), tf.float32)

    def view(encoded):
        return resize_and_crop(decode(encoded, preprocessing.channels), preprocessing)

    @tf.function(input_signature=[tf.TensorSpec((None, *pixels.shape), tf.float32, name="image")])
    def serve(image):
        return {OUTPUT: graph(image)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="encoded")])
    def serve_bytes(encoded):
        return {OUTPUT: graph(tf.map_fn(view, encoded, fn_output_signature=pixels))}

    @tf.function(input_signature=[])
    def labels():
        return {"labels": tf.constant(list(class_names))}

    module = tf.Module()
    module.graph, module.serve, module.serve_bytes, module.labels = graph, serve, serve_bytes, labels
    signatures = {"serving_default": serve, "serve_bytes": serve_bytes, "labels": labels}
    tf.saved_model.save(module, path, signatures)

"""SavedModel: an image tensor or encoded image files in, class probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from keras_vit.data.decode import decode
from keras_vit.data.geometry import resize_and_crop
from keras_vit.export.graph import OUTPUT
from keras_vit.preprocessing import Preprocessing


def write_saved_model(
    graph: keras.Model, path: Path, *, class_names: Sequence[str], preprocessing: Preprocessing
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

    def view(encoded):
        return resize_and_crop(decode(encoded, preprocessing.channels), preprocessing)

    def serve(image):
        return {OUTPUT: graph(image, training=False)}

    def serve_bytes(encoded):
        spec = tf.TensorSpec((*preprocessing.image_size, preprocessing.channels), tf.float32)
        return serve(tf.map_fn(view, encoded, fn_output_signature=spec))

    def labels():
        return {"labels": tf.constant(list(class_names))}

    # Endpoints bring their variables along; `archive.track` would store every weight a second time.
    archive = keras.export.ExportArchive()
    archive.add_endpoint("serve", serve, [tf.TensorSpec(graph.input_shape, tf.float32, name="image")])
    archive.add_endpoint("serve_bytes", serve_bytes, [tf.TensorSpec((None,), tf.string, name="encoded")])
    archive.add_endpoint("labels", labels, [])
    archive.write_out(path, verbose=False)

"""Runs a saved Keras model over images with tensorflow, keras and the layers of this package.

python run_keras.py MODEL.keras OUT.npz --images IMAGES.npy --threads 2

The contract is in the docstring of `runners`. What is timed is the compiled model (`tf.function`), as
`serving_default` of a SavedModel is: `Model.predict` would add milliseconds of its own to every call. What files add at
the end, such as a softmax, is not there: it takes no time beside the model.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import tensorflow as tf

import keras_vit.heads  # noqa: F401  registers the layers

sys.path.append(str(Path(__file__).parent))

from harness import Signature, main


def load(path: str, threads: int) -> dict[str, Signature]:
    """The model, compiled for one image at a time."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = keras.saving.load_model(path, compile=False)

    @tf.function(input_signature=[tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)])
    def serve(images):
        return tf.cast(model(images, training=False), tf.float32)

    return {"serving_default": Signature(lambda images: serve(tf.constant(images, tf.float32)).numpy())}


if __name__ == "__main__":
    main(load, foreign=(), usage=__doc__)

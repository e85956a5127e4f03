"""A linear classifier of tiny images, converted in a moment, whose outputs are known by hand."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from keras_vit import Preprocessing
from keras_vit.data import Examples
from keras_vit.export.verify import Reference
from keras_vit.tasks import Classification

TASK = Classification(tuple("abcde"))

SHAPE = (4, 6, 3)
COUNT = 21
TABLE = np.random.default_rng(3).normal(0, 0.004, (72, 5)).astype("float32")
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, *SHAPE), "uint8")


def classify(image):
    return tf.nn.softmax(tf.reshape(image, (-1, 72)) @ tf.constant(TABLE))


def exact(pixels):
    logits = pixels.reshape(-1, 72).astype("float64") @ TABLE
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def convert(path, *, batch=1, interface=None, function=classify, shape=SHAPE):
    """A TFLite file; with an `interface`, int8 all through and that type at its ends."""
    spec = tf.TensorSpec((batch, *shape), tf.float32, name="image")
    concrete = tf.function(function, input_signature=[spec]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    if interface:
        # The ends of the range are in it, so that a pixel is an integer of the input's scale.
        extremes = [np.zeros((1, *shape)), np.full((1, *shape), 255.0)]
        samples = [*extremes, *(image[None] for image in PIXELS)]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([sample.astype("float32")] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = interface
    path.write_bytes(converter.convert())
    return path


def reference_in(folder):
    """What the classifier makes of `PIXELS`, three of which are labelled as it does not see them."""
    np.save(folder / "images.npy", PIXELS)
    source = exact(PIXELS)
    labels = source.argmax(-1)
    labels[:3] = (labels[:3] + 1) % 5
    examples = Examples(labels=labels, paths=[f"/photos/{index}.jpg" for index in range(COUNT)])
    record = Preprocessing(SHAPE[:2])
    score = TASK.score(source, examples, record)
    return Reference(TASK, examples, record, source, score, {"images": folder / "images.npy"})

"""Converts a SavedModel of static shape to a TFLite file. Needs tensorflow only.

python convert_tflite.py SAVED_MODEL OUT.tflite [--weights float32|float16]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import tensorflow as tf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("saved_model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", choices=("float32", "float16"), default="float32")
    arguments = parser.parse_args()

    converter = tf.lite.TFLiteConverter.from_saved_model(arguments.saved_model, signature_keys=["serving_default"])
    # Without the fallback to TensorFlow's own operators, one that TFLite lacks is an error here and not on the device.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if arguments.weights == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    arguments.out.write_bytes(converter.convert())


if __name__ == "__main__":
    main()

"""Runs both signatures of an exported SavedModel with tensorflow and numpy.

python run_saved_model.py FOLDER OUT.npz --images IMAGES.npy --encoded FILES.npz --threads 2

The contract is in the docstring of `runners`; the signatures are `serving_default` and `serve_bytes`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parent))

from harness import Signature, main, side_by_side


def load(path: str, threads: int) -> dict[str, Signature]:
    """Both signatures of the folder."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    # The loaded object must outlive its signatures: their variables belong to it.
    model = tf.saved_model.load(path)

    def serve(images):
        image = tf.constant(images.astype("float32"))
        return side_by_side(model.signatures["serving_default"](image=image))

    def serve_bytes(files):
        return side_by_side(model.signatures["serve_bytes"](encoded=tf.constant(files)))

    return {"serving_default": Signature(serve), "serve_bytes": Signature(serve_bytes, inputs="encoded")}


if __name__ == "__main__":
    # Keras is not looked for: `import tensorflow` imports it by itself.
    main(load, foreign=("keras_vit",), usage=__doc__, encoded=True)

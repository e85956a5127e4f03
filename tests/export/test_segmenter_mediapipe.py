"""A segmenter's exported file in MediaPipe's own ImageSegmenter, as it is."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from dense_helpers import IMAGE_SIZE, NAMES, dense_examples, dense_model

from keras_vit.export import export
from keras_vit.export.predictor import load

SCRIPT = """
    import json, sys
    import numpy as np
    import mediapipe
    from mediapipe.tasks.python import vision
    from mediapipe.tasks.python.core.base_options import BaseOptions

    images = np.load(sys.argv[1])
    base = BaseOptions(model_asset_path=sys.argv[2])
    options = vision.ImageSegmenterOptions(base, output_category_mask=True, output_confidence_masks=True)
    with vision.ImageSegmenter.create_from_options(options) as segmenter:
        found = [segmenter.segment(mediapipe.Image(mediapipe.ImageFormat.SRGB, image)) for image in images]
        print(json.dumps(segmenter.labels))
    masks = [[mask.numpy_view().squeeze().copy() for mask in each.confidence_masks] for each in found]
    np.savez(sys.argv[3], masks=np.moveaxis(np.array(masks), 1, -1),
             classes=np.stack([each.category_mask.numpy_view().squeeze() for each in found]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tflite", "tflite-int8"])
def test_mediapipe_segments_alike(kind, randomize, tmp_path):
    pytest.importorskip("mediapipe", reason="needs mediapipe")
    task, examples = dense_examples("segmentation")
    model = dense_model("segmentation", "linear", randomize)
    arguments = {"task": task, "validation": examples, "calibration": examples, "allow_drop": True, "progress": False}
    report = export(model, tmp_path / "out", formats=kind, limit=3, **arguments)
    file = tmp_path / "out" / report["artifacts"][0]["file"]
    np.save(tmp_path / "images.npy", examples.images[:3])
    words = [sys.executable, "-c", textwrap.dedent(SCRIPT), tmp_path / "images.npy", file, tmp_path / "found.npz"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == list(NAMES)
    found, expected = np.load(tmp_path / "found.npz"), load(file).predict(examples.images[:3])
    assert found["masks"].shape == (3, *IMAGE_SIZE, len(NAMES))
    np.testing.assert_allclose(found["masks"], expected, atol=2e-2)
    assert (found["classes"] == expected.argmax(-1)).mean() > 0.99

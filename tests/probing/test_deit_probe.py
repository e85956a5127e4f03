"""The real DeiT-Ti on real ants and bees: the features are timm's, and so is what a linear probe makes of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

import keras_vit
from keras_vit.cli.main import main
from keras_vit.data import image_dataset, load
from keras_vit.probing import Embedder, linear

WEIGHTS = "deit_tiny_patch16_224.safetensors"
TOP1 = 0.95
"""scikit-learn on timm's features has 95.4 % with the class token, standardised, C=0.1."""


def timm_features(file, examples, record) -> np.ndarray:
    """What timm's own model gives to its classifier, for the same pixels."""
    from peers import declare_torchvision_ops

    declare_torchvision_ops()
    timm = pytest.importorskip("timm", reason="needs timm, which the test extra installs")
    import torch
    from safetensors.torch import load_file

    judge = timm.create_model("deit_tiny_patch16_224").eval()
    judge.load_state_dict(load_file(file), strict=True)
    found = []
    with torch.inference_mode():
        for images in image_dataset(examples, record, batch_size=32):
            normalised = (np.asarray(images) / 255 - np.array(record.mean)) / np.array(record.std)
            tokens = torch.from_numpy(normalised.astype("float32")).permute(0, 3, 1, 2)
            found.append(judge.forward_head(judge.forward_features(tokens), pre_logits=True).numpy())
    return np.concatenate(found)


@pytest.mark.slow
def test_linear_probe_on_hymenoptera_is_that_on_features_of_timm(shared_data, shared_weights):
    pytest.importorskip("torch", reason="needs torch, which the test extra installs")
    data = load(str(shared_data / "hymenoptera"), test_fraction=0, progress=False)
    model = keras_vit.build("deit_ti16", num_classes=1000, weights=shared_weights / WEIGHTS)
    embedder, pairs, judges = Embedder(model), [], []
    for examples in (data.train, data.val):
        ours = embedder.embed(examples, progress=False)
        theirs = timm_features(shared_weights / WEIGHTS, examples, embedder.preprocessing)
        error = np.abs(ours - theirs).max() / np.abs(theirs).max()
        print(f"{len(examples)} images: largest difference {error:.1e} of the largest feature")
        assert error < 1e-4
        pairs.append((ours, examples.labels))
        judges.append((theirs, examples.labels))
    found, judged = (linear(*each, data.class_names, c=0.1).figures["top1"] for each in (pairs, judges))
    print(f"top-1 of {len(data.val)}: {found:.1%}, on timm's features {judged:.1%}")
    assert found >= TOP1
    assert abs(found - judged) <= 1 / len(data.val)


@pytest.mark.slow
def test_the_command_reaches_it_too(shared_data, shared_weights, tmp_path):
    words = [
        "probe",
        "deit_ti16",
        "--weights",
        str(shared_weights / WEIGHTS),
        "--data",
        str(shared_data / "hymenoptera"),
    ]
    assert main([*words, "--json", str(tmp_path / "p.json"), "--nearest", "4", "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "p.json").read_text())
    assert (record["train"], record["features"]) == (244, 192)
    figures = {f"{probe['method']} {probe.get('k', '')}": probe["val"]["top1"] for probe in record["probes"]}
    assert figures["linear "] >= TOP1
    assert min(figures.values()) > 0.85
    assert len(json.loads((tmp_path / "nearest.json").read_text())) == 153

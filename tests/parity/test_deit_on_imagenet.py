"""The real DeiT-Ti on 1000 real images: written for timm and transformers it answers the same; other sizes hold."""

from __future__ import annotations

import numpy as np
import pytest

import keras_vit

WEIGHTS = "deit_tiny_patch16_224.safetensors"
TOP1_AT_224 = 0.775
"""timm's own transform and model on these images."""


@pytest.fixture(scope="module")
def images(shared_data):
    from keras_vit.data import load

    return load(str(shared_data / "imagenet_sample"), val_fraction=0, test_fraction=0, progress=False)


def _timm(folder):
    from peers import declare_torchvision_ops

    declare_torchvision_ops()
    timm = pytest.importorskip("timm", reason="needs timm, which the test extra installs")
    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


def _transformers(folder):
    from peers import declare_torchvision_ops

    declare_torchvision_ops()
    transformers = pytest.importorskip("transformers", reason="needs transformers, which the test extra installs")
    model, said = transformers.AutoModelForImageClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(said[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


@pytest.mark.slow
def test_imagenet_predictions_survive_the_way_to_timm_and_transformers(images, shared_weights, tmp_path):
    torch = pytest.importorskip("torch", reason="needs torch, which the test extra installs")
    from keras_vit.data import eval_dataset

    model = keras_vit.build("deit_ti16", num_classes=1000, weights=shared_weights / WEIGHTS)
    record = keras_vit.preprocessing_of(model)
    judges = [
        _timm(keras_vit.weights.save(model, tmp_path / "timm", dialect="timm")),
        _transformers(keras_vit.weights.save(model, tmp_path / "huggingface", dialect="huggingface")),
    ]
    count = 0
    for pixels, _ in eval_dataset(images.train, record, num_classes=1000, batch_size=50):
        ours = np.asarray(model.predict_on_batch(pixels))
        normalised = (np.asarray(pixels) / 255 - np.array(record.mean)) / np.array(record.std)
        theirs = torch.from_numpy(normalised.astype("float32")).permute(0, 3, 1, 2)
        with torch.no_grad():
            for judge in judges:
                logits = judge(theirs)
                logits = getattr(logits, "logits", logits).numpy()
                np.testing.assert_array_equal(logits.argmax(1), ours.argmax(1))
                assert np.abs(logits - ours).max() / ours.std() < 1e-4
        count += len(ours)
    assert count == 1000


@pytest.mark.slow
@pytest.mark.parametrize("image_size", [(320, 256), (384, 384)], ids=str)
def test_imagenet_top1_at_other_sizes(image_size, images, shared_weights):
    from keras_vit.tasks import evaluate

    model = keras_vit.build("deit_ti16", num_classes=1000, image_size=image_size, weights=shared_weights / WEIGHTS)
    top1 = evaluate(model, images.train, images.class_names, progress=False).figures["top1"]
    print(f"top-1 at {image_size}: {top1:.1%}")
    assert top1 >= TOP1_AT_224 - 0.06


@pytest.mark.parametrize("name", ["deit_ti32", "deit_ti8"])
def test_other_patch_sizes_still_see(name, images, shared_weights, capsys):
    """The patches are resized with the weights, so that the network still knows what it looks at, if less well."""
    from keras_vit.data import eval_dataset

    model = keras_vit.build(name, num_classes=1000, weights=shared_weights / WEIGHTS)
    assert "patches resized from 16 x 16" in capsys.readouterr().out
    some = images.train.subset(np.arange(0, 1000, 50))
    dataset = eval_dataset(some, keras_vit.preprocessing_of(model), num_classes=1000, batch_size=10)
    logits = np.concatenate([model.predict_on_batch(pixels) for pixels, _ in dataset])
    print(f"{name}: {np.mean(logits.argmax(1) == some.labels):.0%} of {len(some)}")
    assert np.isfinite(logits).all()

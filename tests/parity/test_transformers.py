"""Every family against Hugging Face transformers: its random weights here, ours there, the same outputs."""

from __future__ import annotations

import pytest
from judges import (
    JUDGES,
    RECTANGLE,
    SQUARE,
    WITHOUT,
    assert_same,
    class_token,
    images_of,
    loaded,
    logits_of,
    names_in,
    ours,
    pooled,
    run,
    saved,
    transformers,
)

import keras_vit
from keras_vit.variants import FAMILIES

CLASSIFIERS = [family for family, judge in JUDGES.items() if judge.classifier]


def cases(families) -> list:
    return [
        pytest.param(family, size, id=f"{family}-{size[0]}x{size[1]}")
        for family in families
        for size in (SQUARE, RECTANGLE)
        if size == SQUARE or JUDGES[family].rectangles
    ]


def test_no_family_escapes():
    assert set(JUDGES) | WITHOUT == set(FAMILIES)
    assert not WITHOUT & set(JUDGES)


@pytest.mark.parametrize(("family", "image_size"), cases(JUDGES))
def test_features_there_and_back(family, image_size, tmp_path):
    judge, images = JUDGES[family], images_of(image_size)
    theirs = judge.model(image_size)
    wanted = judge.features(run(theirs, images))
    encoder = ours(family, saved(theirs, tmp_path / "theirs"), image_size)
    assert_same(encoder(images), wanted)

    folder = keras_vit.weights.save(encoder, tmp_path / "ours", dialect="huggingface")
    back = loaded(judge.back or judge.base, folder)
    assert_same(judge.features(run(back, images)), wanted)
    assert type(transformers.AutoModel.from_pretrained(folder)) is type(back)
    if judge.features is class_token:
        assert_same(pooled(run(back, images)), wanted)
    assert_same(ours(family, folder, image_size)(images), wanted)
    assert judge.back or names_in(folder) == names_in(tmp_path / "theirs")


@pytest.mark.parametrize(("family", "image_size"), cases(CLASSIFIERS))
def test_logits_there_and_back(family, image_size, tmp_path, capsys):
    judge, images = JUDGES[family], images_of(image_size)
    theirs = judge.model(image_size, 7)
    if family.startswith("dinov2"):
        # Their classifier sees the class token and the average, ours one of them.
        theirs.classifier.weight.data[:, 32:] = 0
    wanted = logits_of(run(theirs, images))
    weights = saved(theirs, tmp_path / "theirs")
    capsys.readouterr()
    model = ours(family, weights, image_size, 7)
    assert capsys.readouterr().out == ""
    assert_same(model(images), wanted)

    folder = keras_vit.weights.save(model, tmp_path / "ours", dialect="huggingface")
    assert_same(logits_of(run(loaded(judge.classifier, folder), images)), wanted)
    assert_same(ours(family, folder, image_size, 7)(images), wanted)
    assert names_in(folder) == names_in(weights)
    capsys.readouterr()
    ours(family, weights, image_size)
    assert "classifier is left out" in capsys.readouterr().out


@pytest.mark.parametrize("family", JUDGES)
def test_names_of_transformers_5(family, tmp_path):
    """A state dict has them, `save_pretrained` turns them into those of the Hub."""
    judge, images = JUDGES[family], images_of(SQUARE)
    theirs = judge.model(SQUARE)
    encoder = ours(family, saved(theirs, tmp_path, save_original_format=False), SQUARE)
    assert_same(encoder(images), judge.features(run(theirs, images)))


def test_names_of_the_hub_are_written(tmp_path):
    for family, name in {
        "vit": "vit.encoder.layer.1.attention.attention.query.weight",
        "dinov2": "dinov2.encoder.layer.1.attention.output.dense.weight",
        "ijepa": "ijepa.encoder.layer.1.output.dense.weight",
    }.items():
        model = ours(family, None, SQUARE, 3)
        assert name in names_in(keras_vit.weights.save(model, tmp_path / family, dialect="huggingface"))


def test_shards(tmp_path):
    judge, images = JUDGES["vit"], images_of(SQUARE)
    theirs = judge.model(SQUARE, 7)
    folder = saved(theirs, tmp_path, max_shard_size="50KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    assert not (folder / "model.safetensors").exists()
    assert_same(ours("vit", folder, SQUARE, 7)(images), logits_of(run(theirs, images)))

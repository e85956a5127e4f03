"""The worst and the best examples of a run, and what it looked at in them."""

from __future__ import annotations

import io

import keras
import numpy as np
import pytest
from PIL import Image

from keras_vit.data import load
from keras_vit.evaluation.figures import softmax
from keras_vit.explain import can_be_looked_into, look_at
from keras_vit.tasks import evaluate, outputs_of


@pytest.fixture(scope="module")
def split(blobs):
    return load(str(blobs)).test


def test_order_and_words_of_a_classifier(run, split):
    judged = evaluate(run.model, split, run.task, progress=False)
    logits = np.stack(list(run.task.predictions(outputs_of(run.model), split, run.preprocessing, progress=False)))
    truth = softmax(logits)[np.arange(len(split)), split.labels]
    assert (np.diff(truth[judged.order]) >= 0).all()

    looks = look_at(run.model, split, run.task, judged.order, count=3)
    assert [look.name for look in looks.worst] == [f"index {index}" for index in judged.order[:3]]
    assert [look.name for look in looks.best] == [f"index {index}" for index in judged.order[::-1][:3]]
    for look, index in zip(looks.worst + looks.best, [*judged.order[:3], *judged.order[::-1][:3]], strict=True):
        said, true = (run.class_names[c] for c in (logits[index].argmax(), split.labels[index]))
        assert look.words[0].startswith(f"{said} (")
        assert look.right == (said == true)
        assert look.panels == ("photo", *dict.fromkeys((f"for {said}", f"for {true}")))
        image = Image.open(io.BytesIO(look.picture))
        assert image.size == (len(look.panels) * 326 - 6, 320)
        left, right = np.asarray(image)[:, :320].astype(int), np.asarray(image)[:, 326:646].astype(int)
        assert np.abs(left - right).mean() > 3
        assert np.abs(left[10::20, 10::20] - split.images[index]).mean() < 12  # a JPEG


def test_a_mistake_shows_what_speaks_for_the_truth_too(run, split):
    """Wrong on purpose: of an image that is called by another name."""
    wrong = split.subset(range(4))
    wrong.labels = (wrong.labels + 1) % 3
    judged = evaluate(run.model, wrong, run.task, progress=False)
    looks = look_at(run.model, wrong, run.task, judged.order, count=2)
    assert len(looks.worst) == len(looks.best) == 2
    for look in (*looks.worst, *looks.best):
        assert look.right is False
        assert look.words[1].startswith("truth: ")
        assert look.panels[2] == f"for {look.words[1].removeprefix('truth: ')}"


@pytest.mark.parametrize("count", [1, 20, 100])
def test_no_example_is_both(run, split, count):
    few = split.subset(range(5))
    looks = look_at(run.model, few, run.task, [4, 2, 0, 1, 3], count=count)
    assert len(looks.worst) == min(count, 5)
    assert len(looks.worst) + len(looks.best) == min(2 * count, 5)
    assert not {look.name for look in looks.worst} & {look.name for look in looks.best}


def test_nothing_where_there_is_nothing_to_see(run, split):
    stranger = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    assert not can_be_looked_into(stranger)
    assert not can_be_looked_into("vit_mu4")
    assert can_be_looked_into(run.model)
    assert look_at(stranger, split, run.task, range(len(split))) is None
    assert look_at(run.model, split, run.task, None) is None
    assert look_at(run.model, split, run.task, range(len(split)), count=0) is None

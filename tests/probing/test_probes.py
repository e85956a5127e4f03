"""k-nearest neighbours against a loop and against scikit-learn, and the linear probe against scikit-learn."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_fscore_support
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_vit.errors import InputError
from keras_vit.probing import knn, linear, linear_classifier, neighbours, probe
from keras_vit.probing.linear import CS

NAMES = [f"class {index}" for index in range(7)]


def clusters(count: int, seed: int, noise: float = 1.5, classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Features of `classes` overlapping clusters in 12 dimensions."""
    centres = np.random.default_rng(99).normal(size=(classes, 12))
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return (centres[labels] + noise * rng.normal(size=(count, 12))).astype("float32"), labels


TRAIN, JUDGED = clusters(140, seed=0), clusters(70, seed=1)


class TestNeighbours:
    def test_weighted_votes_as_a_loop_counts_them(self):
        """DINO's rule, written out image by image."""
        (found,) = knn(TRAIN, JUDGED, NAMES, k=[15])
        predicted, five = [], []
        for query in JUDGED[0].astype("float64"):
            similarity = np.array([query @ t / np.linalg.norm(query) / np.linalg.norm(t) for t in TRAIN[0]])
            votes = dict.fromkeys(range(7), 0.0)
            for index in sorted(range(140), key=lambda i: -similarity[i])[:15]:
                votes[TRAIN[1][index]] += np.exp(similarity[index] / 0.07)
            ranked = sorted(votes, key=lambda label: -votes[label])
            predicted.append(ranked[0])
            five.append([label for label in ranked[:5] if votes[label] > 0])
        np.testing.assert_array_equal(found.predicted, predicted)
        right = np.array(predicted) == JUDGED[1]
        assert found.figures["top1"] == pytest.approx(right.mean())
        hits = [label in few for label, few in zip(JUDGED[1], five, strict=True)]
        assert found.figures["top5"] == pytest.approx(np.mean(hits))
        assert 0.5 < found.figures["top1"] < found.figures["top5"] < 1
        assert found.figures["n"] == 70

    def test_equal_votes_as_scikit_learn_counts_them(self):
        for found, k in zip(knn(TRAIN, JUDGED, NAMES, k=[1, 5, 20], temperature=None), (1, 5, 20), strict=True):
            judge = KNeighborsClassifier(k, metric="cosine").fit(*TRAIN)
            np.testing.assert_array_equal(found.predicted, judge.predict(JUDGED[0]))
            assert found.figures["top1"] == pytest.approx(judge.score(*JUDGED))
            precision, recall, _, _ = precision_recall_fscore_support(JUDGED[1], found.predicted, zero_division=0)
            assert [row["precision"] for row in found.per_class] == pytest.approx(precision)
            assert [row["recall"] for row in found.per_class] == pytest.approx(recall)
            assert found.settings == {"k": k, "temperature": None}

    def test_chunks_change_nothing(self, monkeypatch):
        whole = neighbours(TRAIN[0], JUDGED[0], 4)
        monkeypatch.setattr(sys.modules["keras_vit.probing.knn"], "CHUNK", 9)
        parts = neighbours(TRAIN[0], JUDGED[0], 4)
        np.testing.assert_allclose(parts[0], whole[0], atol=1e-6)
        np.testing.assert_array_equal(parts[1], whole[1])
        assert (np.diff(whole[0], axis=1) <= 0).all()

    def test_an_image_is_nearest_to_itself_whatever_its_length(self):
        similarities, indices = neighbours(TRAIN[0], 3 * TRAIN[0][:10], 2)
        np.testing.assert_array_equal(indices[:, 0], np.arange(10))
        np.testing.assert_allclose(similarities[:, 0], 1, atol=1e-6)

    def test_a_class_without_votes_is_not_among_the_first_five(self):
        (found,) = knn(TRAIN, JUDGED, NAMES, k=[1])
        assert found.figures["top5"] == found.figures["top1"]

    def test_few_classes_have_no_top5(self):
        train, judged = clusters(40, 0, classes=3), clusters(20, 1, classes=3)
        assert set(knn(train, judged, NAMES[:3], k=[3])[0].figures) == {"top1", "n"}


class TestLinear:
    def test_as_scikit_learn(self):
        found = linear(TRAIN, JUDGED, NAMES, c=0.1)
        scale = StandardScaler().fit(TRAIN[0].astype("float64"))
        judge = LogisticRegression(C=0.1, max_iter=2000).fit(scale.transform(TRAIN[0].astype("float64")), TRAIN[1])
        wanted = judge.predict_proba(scale.transform(JUDGED[0].astype("float64")))
        np.testing.assert_array_equal(found.predicted, wanted.argmax(1))
        assert found.figures["top1"] == pytest.approx((wanted.argmax(1) == JUDGED[1]).mean())
        assert found.figures["loss"] == pytest.approx(-np.log(wanted[np.arange(70), JUDGED[1]]).mean(), rel=1e-6)
        assert found.figures["top1"] > 0.6
        assert found.settings == {"c": 0.1}

    def test_two_classes(self):
        train, judged = clusters(40, 0, classes=2), clusters(20, 1, classes=2)
        found = linear(train, judged, NAMES[:2], c=1.0)
        assert found.figures["top1"] > 0.6
        assert set(found.figures) == {"top1", "loss", "ece", "n"}

    def test_c_is_chosen_as_scikit_learn_would(self):
        noisy = clusters(60, 3, noise=6, classes=2)
        folds = StratifiedKFold(5, shuffle=True, random_state=1)
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        search = GridSearchCV(pipeline, {"logisticregression__C": CS}, cv=folds).fit(*noisy)
        assert search.best_params_["logisticregression__C"] == linear_classifier(*noisy, seed=1)[-1].C

    def test_a_class_without_training_images_comes_last(self):
        some = TRAIN[1] != 3
        found = linear((TRAIN[0][some], TRAIN[1][some]), JUDGED, NAMES, c=0.1)
        assert 3 not in found.predicted
        assert found.per_class[3]["recall"] == 0
        assert np.isfinite(found.figures["loss"])


def test_probe_runs_what_it_is_asked_for():
    found = probe(TRAIN, JUDGED, NAMES, k=[5, 10], c=0.1)
    assert [(each.method, each.settings.get("k")) for each in found] == [("knn", 5), ("knn", 10), ("linear", None)]
    assert [each.method for each in probe(TRAIN, JUDGED, NAMES, methods=["linear"], c=0.1)] == ["linear"]


def change(pair, features=None, labels=None):
    return (pair[0] if features is None else features, pair[1] if labels is None else labels)


@pytest.mark.parametrize(
    ("train", "judged", "settings", "sentence"),
    [
        (TRAIN, JUDGED, {"methods": ["kn"]}, "no method 'kn': did you mean 'knn'"),
        (TRAIN, JUDGED, {"methods": "knn"}, "methods is a list of knn, linear"),
        (TRAIN, JUDGED, {"k": []}, "k is a list of numbers"),
        (TRAIN, JUDGED, {"k": [0]}, "at least 1, not 0"),
        (TRAIN, JUDGED, {"k": [10, 141]}, "There are 140 training images, fewer than k = 141 neighbours"),
        (TRAIN, JUDGED, {"temperature": 0.0}, "temperature is above 0, or None"),
        (TRAIN, JUDGED, {"c": -1.0}, "c is the inverse strength of the penalty, above 0, not -1.0"),
        (change(TRAIN, labels=0 * TRAIN[1]), JUDGED, {}, "All 140 training images are of the class 'class 0'"),
        (change(TRAIN, labels=TRAIN[1] + 1), JUDGED, {}, r"train labels lie in 1\.\.7, and there are 7 class names"),
        (change(TRAIN, labels=np.minimum(np.arange(140), 1)), JUDGED, {}, "too few to choose C"),
        (TRAIN, change(JUDGED, features=JUDGED[0][:, :5]), {}, "have 12 numbers and those that are judged 5"),
        (TRAIN, change(JUDGED, features=JUDGED[0][:9]), {}, r"give \(n, D\) features of at least one image"),
        (TRAIN, change(JUDGED, features=np.full_like(JUDGED[0], np.nan)), {}, "judged features are NaN or infinite"),
    ],
)
def test_wrong_input_gets_one_sentence(train, judged, settings, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        probe(train, judged, NAMES, **settings)
    assert "\n" not in str(caught.value)

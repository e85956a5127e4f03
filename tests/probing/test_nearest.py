"""The nearest training images, as records and as a sheet."""

from __future__ import annotations

import numpy as np
import pytest

import keras_vit
from keras_vit.data import load
from keras_vit.evaluation import RIGHT, WRONG
from keras_vit.probing import Embedder, nearest_records, nearest_sheet, neighbours


@pytest.fixture(scope="module")
def found(blobs):
    whole = keras_vit.Preprocessing(crop=1.0)
    model = keras_vit.build("vit_mu4", num_classes=0, image_size=16, depth=1, preprocessing=whole, seed=0)
    data, embedder = load(str(blobs), progress=False), Embedder(model)
    few = data.val.subset(range(4))
    features = [embedder.embed(part, progress=False) for part in (data.train, few)]
    return data, few, *neighbours(*features, 3), embedder.preprocessing


def test_records(found):
    data, few, similarities, indices, _ = found
    rows = nearest_records(few, data.train, similarities, indices, data.class_names)
    assert [row["label"] for row in rows] == [data.class_names[label] for label in few.labels]
    for row, wanted, shares in zip(rows, indices, similarities, strict=True):
        assert [each["file"] for each in row["nearest"]] == [data.train.names[index] for index in wanted]
        assert [each["label"] for each in row["nearest"]] == [data.class_names[data.train.labels[i]] for i in wanted]
        assert [each["similarity"] for each in row["nearest"]] == pytest.approx(shares, abs=1e-6)


def test_sheet_has_a_row_an_image(found):
    data, few, similarities, indices, record = found
    figure = nearest_sheet(few, data.train, similarities, indices, data.class_names, record)
    axes = figure.axes
    assert len(axes) == 4 * (1 + 3)
    for row in range(4):
        query, *near = axes[4 * row : 4 * row + 4]
        assert query.get_title().startswith(f"query: {data.class_names[few.labels[row]]}\n")
        np.testing.assert_array_equal(query.images[0].get_array(), few.images[row])
        for place, each in enumerate(near):
            index = indices[row, place]
            same = data.train.labels[index] == few.labels[row]
            np.testing.assert_array_equal(each.images[0].get_array(), data.train.images[index])
            assert each.get_title().startswith("" if same else "not: ")
            assert f"{data.class_names[data.train.labels[index]]} {similarities[row, place]:.2f}" in each.get_title()
            assert each.title.get_color() == (RIGHT if same else WRONG)

"""Pictures are drawn, opened again and looked into."""

from __future__ import annotations

import io
import sys
import warnings

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from keras_vit.errors import InputError
from keras_vit.evaluation import (
    RIGHT,
    WRONG,
    confusion_figure,
    contact_sheet,
    curves_figure,
    save_png,
    to_array,
    to_png,
)

HISTORY = {"loss": [2.0, 1.0, 0.5], "accuracy": [0.2, 0.5, 0.7], "val_loss": [2.1, 1.2, 0.9]}
HISTORY |= {"val_accuracy": [0.2, 0.4, 0.6], "learning_rate": [1e-3, 5e-4, 0.0]}


def opened(figure) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png = to_png(figure)
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"))


def colour_share(pixels: np.ndarray, colour: str) -> float:
    """The share of pixels that are close to a colour such as #0072B2."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return float(np.mean(np.abs(pixels.astype(int) - wanted).max(axis=-1) < 12))


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize("classes", [1, 2, 10, 20, 21, 100, 250])
def test_confusion_figure_is_not_blank_and_clips_nothing(classes):
    rng = np.random.default_rng(classes)
    matrix = rng.integers(0, 3, (classes, classes)) + 40 * np.eye(classes, dtype=int)
    names = [f"a rather long class name, number {i}" for i in range(classes)]
    figure = confusion_figure(matrix, names)
    pixels = opened(figure)
    assert pixels.std() > 10
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (border == 255).all()
    assert texts(figure) == ([str(v) for v in matrix.ravel()] if classes <= 20 else [])


def test_confusion_figure_survives_absent_classes_and_odd_names():
    matrix = np.array([[3, 1, 0], [0, 0, 0], [0, 0, 2]])
    names = ["$5 or $x_", "<script>", "50% \\frac{"]
    figure = confusion_figure(matrix, names)
    opened(figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == names


def test_long_names_that_differ_at_the_end_stay_different():
    names = [f"American Staffordshire bull terrier {i}" for i in range(12)]
    figure = confusion_figure(np.eye(12, dtype=int), names)
    assert len({label.get_text() for label in figure.axes[0].get_yticklabels()}) == 12


def test_confusion_figure_refuses_another_shape():
    with pytest.raises(InputError, match=r"\(2, 2\), not \(3, 3\)"):
        confusion_figure(np.eye(3), ["a", "b"])


def test_contact_sheet_shows_digits_grey_and_with_hard_edges():
    digits = load_digits().images[:7]
    images = (digits * 15).astype("uint8")[..., None]
    pixels = opened(contact_sheet(images, columns=4))
    assert (pixels.max(axis=-1) == pixels.min(axis=-1)).all()
    # Without titles only the image values and the white paper appear: nothing was blended between pixels.
    shown = np.unique(pixels, return_counts=True)
    frequent = shown[0][shown[1] > 600]
    assert set(frequent) <= {*np.unique(images), 255}
    assert len(frequent) > 5
    assert pixels.shape[0] > 2 * 8 * 10


def test_contact_sheet_colours_titles_and_images():
    red = np.zeros((40, 60, 3), "uint8")
    red[..., 0] = 255
    tall = np.full((300, 200, 3), (0, 255, 0), "uint8")
    titles, colours = ["bee (97 %)", "ant (88 %)\ntruth: $5 bee $6 with a very long name"], [RIGHT, WRONG]
    pixels = opened(contact_sheet([red, tall], titles, colours=colours))
    assert colour_share(pixels, "#ff0000") > 0.1
    assert colour_share(pixels, "#00ff00") > 0.1
    assert colour_share(pixels, RIGHT) > 0.0001
    assert colour_share(pixels, WRONG) > 0.0001


def test_contact_sheet_of_real_photos(shared_data):
    files = sorted((shared_data / "hymenoptera" / "val").rglob("*.jpg"))[:5]
    photos = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    pixels = opened(contact_sheet(photos, [file.stem for file in files], columns=3))
    # The sheet's own photos, shrunk: their mean colour is found around each place where one must stand.
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 3
    for place, photo in enumerate(photos):
        row, column = divmod(place, 3)
        centre = pixels[int((row + 0.56) * height), int((column + 0.5) * width)]
        region = photo[photo.shape[0] // 3 : -photo.shape[0] // 3, photo.shape[1] // 3 : -photo.shape[1] // 3]
        assert (centre >= region.min(axis=(0, 1)).astype(int) - 8).all()
        assert (centre <= region.max(axis=(0, 1)).astype(int) + 8).all()
        assert (centre < 255).any()


def test_a_sheet_without_images_says_so():
    assert opened(contact_sheet([], [])).std() > 1


@pytest.mark.parametrize(
    ("images", "titles", "columns", "message"),
    [
        ([np.zeros((4, 4, 2), "uint8")], [""], 6, r"uint8 of shape \(height, width, 1 or 3\), not uint8"),
        ([np.zeros((4, 4, 3), "float32")], [""], 6, "not float32"),
        ([np.zeros((4, 4), "uint8")], [""], 6, r"not uint8 of shape \(4, 4\)"),
        ([np.zeros((4, 4, 3), "uint8")], [], 6, "1 images came with 0 titles"),
        ([np.zeros((4, 4, 3), "uint8")], [""], 0, "at least 1, not 0"),
    ],
)
def test_contact_sheet_names_what_is_wrong(images, titles, columns, message):
    with pytest.raises(InputError, match=message):
        contact_sheet(images, titles, columns=columns)


def test_curves_have_a_panel_a_metric_with_the_learning_rate_last():
    figure = curves_figure({"learning_rate": [0.1], **HISTORY})
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy", "learning rate"]
    lines = {line.get_label(): line.get_ydata().tolist() for line in figure.axes[0].lines}
    assert lines == {"train": HISTORY["loss"], "validation": HISTORY["val_loss"]}
    assert figure.axes[0].lines[0].get_xdata().tolist() == [1, 2, 3]
    pixels = opened(figure)
    assert colour_share(pixels, RIGHT) > 0.0005
    assert colour_share(pixels, WRONG) > 0.0002


@pytest.mark.parametrize("history", [{"loss": [1.0]}, {"val_loss": [1.0, float("nan")]}, {"miou": [0.1, 0.2]}])
def test_short_and_broken_histories_are_drawn(history):
    assert opened(curves_figure(history)).std() > 1


def test_an_empty_history_is_an_error():
    with pytest.raises(InputError, match="no epochs"):
        curves_figure({"loss": []})


def test_png_bytes_repeat_and_arrays_show_the_same(tmp_path):
    png = to_png(curves_figure(HISTORY))
    assert png == to_png(curves_figure(HISTORY))
    save_png(curves_figure(HISTORY), tmp_path / "new folder" / "curves.png")
    assert (tmp_path / "new folder" / "curves.png").read_bytes() == png
    assert [p.name for p in (tmp_path / "new folder").iterdir()] == ["curves.png"]
    array = to_array(curves_figure(HISTORY))
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, np.asarray(Image.open(io.BytesIO(png)).convert("RGB")))


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        save_png(curves_figure(HISTORY), tmp_path / "file" / "curves.png")


def test_no_figure_is_left_in_pyplot():
    contact_sheet(np.zeros((1, 4, 4, 3), "uint8"))
    curves_figure(HISTORY)
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()

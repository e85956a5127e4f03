"""The anchor-free detection head: its places, its shapes, what it starts from, and that it learns."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import keras_vit
from keras_vit.errors import InputError
from keras_vit.heads.detection import PRIOR, REACH, AnchorFreeHead
from keras_vit.layers.box_decoding import decode_boxes, grid_sizes, place_centres

HEAD = {"num_classes": 3, "image_size": (40, 56), "patch_size": 8, "grid": (5, 7), "width": 16}


def detector(name: str = "vit_mu8", image_size=(40, 56), **more):
    options = {"num_classes": 3, "head_options": {"width": 16, "depth": 1}, "seed": 0, **more}
    return keras_vit.build(name, task="detection", image_size=image_size, **options)


def noise(*shape) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype("uint8")


def test_places_are_the_centres_of_cells_level_by_level():
    assert grid_sizes((40, 56), (8, 16, 32)) == [(5, 7), (3, 4), (2, 2)]
    centres = place_centres((40, 56), (8, 16, 32))
    assert centres.shape == (35 + 12 + 4, 3)
    np.testing.assert_array_equal(centres[[0, 1, 7, 35, 36, 47, 50]].tolist(), [
        [4, 4, 8], [12, 4, 8], [4, 12, 8], [8, 8, 16], [24, 8, 16], [16, 16, 32], [48, 48, 32],
    ])  # fmt: skip


def test_distances_become_boxes():
    centres = place_centres((16, 16), (8,))
    distances = np.tile(np.array([0.5, 0, 1, 2], "float32"), (2, 4, 1))
    boxes = ops.convert_to_numpy(decode_boxes(ops.convert_to_tensor(distances), centres))
    np.testing.assert_array_equal(boxes[1], [[0, 4, 12, 20], [8, 4, 20, 20], [0, 12, 12, 28], [8, 12, 20, 28]])


@pytest.mark.parametrize("name", ["vit_mu16", "vit_mu8", "dinov2_mu14", "vit_mu4"])
@pytest.mark.parametrize("image_size", [(64, 96), (45, 70)])
@pytest.mark.parametrize("dtype", [None, "mixed_float16"])
def test_any_patch_and_any_image_size(name, image_size, dtype):
    model = detector(name, image_size, dtype=dtype)
    found = model.predict(noise(2, *image_size, 3), verbose=0)
    assert found.shape == (2, len(place_centres(image_size, (8, 16, 32))), 7) == (2, *model.output_shape[1:])
    assert found.dtype == "float32"
    assert np.isfinite(found).all()


def test_it_starts_from_likely_boxes_and_rare_objects():
    model = detector(zero_head=True)
    found = model.predict(noise(1, 40, 56, 3), verbose=0)[0]
    centres = place_centres((40, 56), (8, 16, 32))
    np.testing.assert_allclose(found[:, :2], centres[:, :2] - REACH * centres[:, 2:], rtol=1e-4)
    np.testing.assert_allclose(found[:, 2:4], centres[:, :2] + REACH * centres[:, 2:], rtol=1e-4)
    np.testing.assert_allclose(1 / (1 + np.exp(-found[:, 4:])), PRIOR, rtol=1e-4)


def test_a_place_sees_what_is_around_it_and_nothing_far():
    head = AnchorFreeHead(
        (8, 16), 16, 1, num_classes=3, image_size=(16, 256), patch_size=8, grid=(2, 32), prefix=0, seed=0
    )
    tokens = np.random.default_rng(0).normal(size=(1, 64, 32)).astype("float32")
    head.build(tokens.shape)
    before = ops.convert_to_numpy(head(tokens))[0]
    tokens[:, 20] += np.random.default_rng(1).normal(size=32)  # the cell of x from 160 to 168
    changed = np.abs(ops.convert_to_numpy(head(tokens))[0] - before).max(-1)
    for stride in (8, 16):
        level = place_centres((16, 256), (8, 16))[:, 2] == stride
        distance = np.abs(place_centres((16, 256), (8, 16))[level, 0] - 164)
        # Two convolutions of side 3, and before them one cell of the level.
        assert (changed[level][distance > 3 * stride] == 0).all()
        assert (changed[level][distance < stride] > 0).all()


def test_what_is_filled_up_has_no_places():
    """A model of the filled size sees the same pixels; its places inside the smaller image say the same of them."""
    small, large = detector("vit_mu16", (40, 56)), detector("vit_mu16", (48, 64))
    large.set_weights(small.get_weights())
    image = np.zeros((1, 48, 64, 3), "uint8")
    image[:, :40, :56] = noise(1, 40, 56, 3)
    # The fill is zero after normalisation, and so is this.
    mean = np.asarray(keras_vit.preprocessing_of(small).mean) * 255
    image = image.astype("float32")
    image[:, 40:] = image[:, :, 56:] = mean
    one, other = small.predict(image[:, :40, :56], verbose=0)[0], large.predict(image, verbose=0)[0]
    np.testing.assert_allclose(one[:35].reshape(5, 7, -1)[:4, :6], other[:48].reshape(6, 8, -1)[:4, :6], atol=1e-3)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    model = detector(head_options={"width": 24, "depth": 2, "strides": [16, 32]})
    assert model.output_shape == (None, 16, 7)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    images = noise(2, 40, 56, 3)
    np.testing.assert_array_equal(model.predict(images, verbose=0), again.predict(images, verbose=0))
    assert again.get_layer("head").get_config() == model.get_layer("head").get_config()
    assert [layer.name for layer in model.layers[-2:]] == ["norm", "head"]


def test_a_seed_repeats_it_and_no_two_kernels_are_alike():
    one, two = (AnchorFreeHead(**HEAD, seed=3) for _ in range(2))
    for head in (one, two):
        head.build((None, 36, 32))
    for ours, theirs in zip(one.weights, two.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    kernels = [np.asarray(weight) for weight in one.weights if weight.name == "kernel"]
    assert not any(a.shape == b.shape and np.allclose(a, b) for i, a in enumerate(kernels) for b in kernels[i + 1 :])


def test_it_learns_to_find_squares():
    pytest.importorskip("tensorflow")
    from keras_vit.tasks.detection.losses import DetectionLoss
    from keras_vit.tasks.detection.suppression import detect

    rng = np.random.default_rng(0)
    images, truth = rng.integers(0, 60, (16, 32, 48, 3)).astype("uint8"), np.zeros((16, 2, 5), "float32")
    truth[..., 4] = -1
    for index, image in enumerate(images[:-1]):  # the last one has nothing to find
        y, x, side, label = *rng.integers(0, [14, 30]), rng.integers(10, 17), index % 2
        image[y : y + side, x : x + side, 2 * label] = 250
        truth[index, 0] = [x, y, x + side, y + side, label]
    model = detector("vit_mu8", (32, 48), num_classes=2, init="xavier", head_options={"width": 32, "depth": 1})
    model.compile(keras.optimizers.AdamW(5e-3), DetectionLoss((32, 48), 2))
    losses = model.fit(images, truth, batch_size=16, epochs=60, verbose=0).history["loss"]
    assert losses[-1] < 0.35 * losses[0]
    *found, nothing = detect(model.predict(images, verbose=0), score_threshold=0.3)
    for said, (row, _) in zip(found, truth, strict=False):
        assert len(said) >= 1
        assert said.classes[0] == row[4]
        np.testing.assert_allclose(said.boxes[0], row[:4], atol=4)
    assert len(nothing) == 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_classes": 0}, "at least one class"),
        ({"token_merging": 2}, "token_merging takes patches out of their places"),
        ({"head_options": {"width": 0}}, "width is a positive whole number, not 0"),
        ({"head_options": {"depth": 1.5}}, "depth is a positive whole number, not 1.5"),
        ({"head_options": {"strides": [8, 12]}}, r"rising powers of two, such as \(8, 16, 32\), not \[8, 12\]"),
        ({"head_options": {"strides": [16, 8]}}, "rising powers of two"),
        ({"head_options": {"widht": 8}}, "did you mean 'width'"),
        ({"head": "anchors"}, "There is no detection head 'anchors'"),
    ],
)
def test_wrong_arguments_get_one_sentence(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        detector(**changes)

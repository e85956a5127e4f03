"""Every segmentation head: shapes, saving, precision, learning, golden counts; the pyramid; pretrained weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import keras_vit
from keras_vit.errors import InputError
from keras_vit.heads import HEADS
from keras_vit.layers import ConvNorm, Doubling, FeaturePyramid
from keras_vit.layers.pyramid_pooling import PyramidPooling
from keras_vit.variants import FAMILIES

NAMES = list(HEADS["segmentation"].by_name)
GOLDEN = {"linear": 2_123, "mask": 1_003_030, "fpn": 975_627, "upernet": 687_819, "dpt": 905_163, "pup": 222_411}
"""Parameters of the head of a Ti/16 with 11 classes."""
many_shapes = pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="JAX compiles every operation for every shape, for minutes"
)
DIFFERENT = {"siglip", "dinov3", "vit_reg", "beit"}
"""Families that differ from the plain ViT in what a head is given: prefix tokens, and when they are normalised."""


def swept():
    """Every family with every head; by default the plain ViT with all, those that differ with one; on JAX only two."""
    for family in FAMILIES:
        for head in NAMES:
            default = family == "vit" or (family in DIFFERENT and head == "mask")
            marks = [] if family == "vit" and head in ("mask", "fpn") else [many_shapes]
            yield pytest.param(family, head, marks=marks if default else [*marks, pytest.mark.slow])


def segmenter(name: str = "vit_mu16", head: str = "linear", size=(40, 57), classes: int = 5, **options) -> keras.Model:
    options = {"seed": 0, "depth": 2, **options}
    return keras_vit.build(name, task="segmentation", head=head, num_classes=classes, image_size=size, **options)


def pixels(size=(40, 57), batch: int = 2, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (batch, *size, channels)).astype("uint8")


def test_no_head_escapes():
    assert set(NAMES) == set(GOLDEN)


@pytest.mark.parametrize("head", NAMES)
def test_golden_counts(head):
    assert segmenter("deit_ti16", head, (180, 240), 11).get_layer("head").count_params() == GOLDEN[head]


@pytest.mark.parametrize(("family", "head"), swept())
def test_every_head_and_family_saves_and_reloads(family, head, randomize, tmp_path):
    model = segmenter(f"{family}_mu16", head)
    randomize(model)
    logits = ops.convert_to_numpy(model(pixels()))
    assert logits.shape == (2, 40, 57, 5)
    assert logits.dtype == "float32"
    assert np.isfinite(logits).all()
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(copy(pixels()), logits)
    assert copy.get_layer("head").get_config().keys() == model.get_layer("head").get_config().keys()


@many_shapes
@pytest.mark.parametrize("head", NAMES)
@pytest.mark.parametrize(("name", "size"), [("vit_mu8", (33, 16)), ("vit_mu14", (70, 91)), ("vit_mu16", (7, 200))])
def test_any_size_and_patch(name, size, head):
    model = segmenter(name, head, size)
    assert model.output_shape == (None, *size, 5)
    assert model(pixels(size, 1)).shape == (1, *size, 5)


@many_shapes
@pytest.mark.parametrize("head", NAMES)
def test_filling_is_the_same_as_a_larger_image_with_it(head):
    """The logits of an image are those of the filled image, the filling cut off."""
    small, large = segmenter(head=head, size=(40, 57)), segmenter(head=head, size=(48, 64))
    large.set_weights(small.get_weights())
    # The filling is zero after normalisation: the mean colour.
    bare = [keras.Model(m.get_layer("patch_embedding").input, m.output) for m in (small, large)]
    image = np.random.default_rng(0).normal(size=(2, 48, 64, 3)).astype("float32")
    np.testing.assert_allclose(bare[0](image), bare[1](image)[:, :40, :57], atol=1e-5)


@many_shapes
@pytest.mark.parametrize("head", NAMES)
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(head, dtype):
    model, reference = segmenter(head=head, dtype=dtype), segmenter(head=head)
    logits = model(pixels())
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    np.testing.assert_allclose(logits, reference(pixels()), atol=0.1)


@many_shapes
@pytest.mark.parametrize(
    "head", [pytest.param(name, marks=[pytest.mark.slow] * (name not in ("linear", "fpn"))) for name in NAMES]
)
def test_learns(head):
    """Ten steps tell bright parts of an image from dark ones."""
    model = segmenter("vit_mu8", head, (24, 30), 3, depth=1, init="xavier")
    classes = np.random.default_rng(1).integers(0, 3, (8, 3, 3)).repeat(8, 1).repeat(10, 2)
    images = pixels((24, 30), 8) // 4 + (60 * classes[..., None]).astype("uint8")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Tracing takes longer than these few steps.
    model.compile(keras.optimizers.Adam(3e-3), loss, run_eagerly=True)
    losses = model.fit(images, classes, batch_size=8, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    unused = [weight.path for weight in model.get_layer("head").trainable_weights if not np.any(np.asarray(weight))]
    assert not unused


@many_shapes
@pytest.mark.parametrize("head", NAMES)
def test_zero_head_and_seed(head):
    zero = segmenter(head=head, zero_head=True)
    assert not np.asarray(zero(pixels())).any()
    one, two = (segmenter(head=head).get_weights() for _ in range(2))
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
    # No two kernels of one shape are copies of each other.
    kernels = [w for w in segmenter(head=head).get_layer("head").get_weights() if w.ndim > 1]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels)


@many_shapes
@pytest.mark.parametrize("name", ["deit_ti16", "deit_ti8"])
def test_pretrained_weights_load(name, shared_weights):
    weights = shared_weights / "deit_tiny_patch16_224.safetensors"
    model = segmenter(name, "fpn", (180, 240), 11, weights=weights, depth=12)
    sides = "12 x 15" if name == "deit_ti16" else "23 x 30"
    assert f"positions resampled from a 14 x 14 to a {sides} grid" in model.adapted_weights
    assert "the classifier is fresh: the file has none for 11 classes" in model.adapted_weights
    classifier = keras_vit.build(name, num_classes=1000, image_size=224, weights=weights)
    for layer in ("block_0", "block_11", "norm"):
        for ours, theirs in zip(model.get_layer(layer).weights, classifier.get_layer(layer).weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@many_shapes
def test_weights_of_another_segmenter(tmp_path):
    """Its own file loads again at another size, and with other classes all but the classifier."""
    path = tmp_path / "model.keras"
    model = segmenter(head="fpn")
    model.save(path)
    same = segmenter(head="fpn", size=(64, 100), weights=path)
    np.testing.assert_array_equal(same.get_layer("head").classify.kernel, model.get_layer("head").classify.kernel)
    other = segmenter(head="fpn", classes=7, weights=path)
    assert any("classifier is fresh" in note for note in other.adapted_weights)


class TestParts:
    def test_doubling_is_a_transposed_convolution(self):
        x = np.random.default_rng(0).normal(size=(2, 3, 5, 8)).astype("float32")
        doubling, judge = Doubling(6), keras.layers.Conv2DTranspose(6, 2, 2)
        doubling.build(x.shape)
        judge.build(x.shape)
        kernel = np.asarray(doubling.expand.kernel).reshape(8, 2, 2, 6)
        judge.kernel.assign(kernel.transpose(1, 2, 3, 0))
        np.testing.assert_allclose(doubling(x), judge(x), atol=1e-6)

    @pytest.mark.parametrize(
        ("patch", "grid", "size"),
        [(16, (12, 15), (180, 240)), (8, (5, 9), (33, 70)), (14, (13, 9), (180, 121))],
    )
    def test_pyramid_sides(self, patch, grid, size):
        x = np.random.default_rng(0).normal(size=(2, *grid, 16)).astype("float32")
        pyramid = FeaturePyramid(patch, (8, 16, 32), 12, size)
        shapes = [tuple(level.shape) for level in pyramid(x)]
        assert shapes == [(2, -(-size[0] // s), -(-size[1] // s), 12) for s in (8, 16, 32)]
        assert pyramid.compute_output_shape(x.shape) == shapes
        copy = FeaturePyramid.from_config(pyramid.get_config())
        several = copy([x, x, x])
        copy.set_weights(pyramid.get_weights())
        for one, two in zip(copy([x, x, x]), pyramid(x), strict=True):
            np.testing.assert_array_equal(one, two)
        assert len(several) == 3

    def test_cells_lie_where_their_stride_says(self):
        """A map that holds its cells' places in the image still does after it was resampled from patch 14."""
        places = (np.arange(16) + 0.5) * 14
        x = np.broadcast_to(places[None, :, None, None], (1, 16, 16, 1)).astype("float32")
        resampled = np.asarray(FeaturePyramid(14, (16,), 4)._resampled(x))
        np.testing.assert_allclose(resampled[0, :13, 0, 0], (np.arange(13) + 0.5) * 16, rtol=1e-5)

    def test_strides_are_powers_of_two(self):
        with pytest.raises(ValueError, match="powers of two, not 12"):
            FeaturePyramid(16, (8, 12))

    def test_pooling_averages_as_torch_does(self):
        torch = pytest.importorskip("torch")
        x = np.random.default_rng(0).normal(size=(2, 7, 10, 8)).astype("float32")
        pooling = PyramidPooling(8, (1, 3, 6))
        pooling.build(x.shape)
        for means, side in zip(pooling.means, pooling.bins, strict=True):
            judge = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(x.transpose(0, 3, 1, 2)), side)
            ours = (means @ x.reshape(2, 70, 8)).reshape(2, side, side, 8)
            np.testing.assert_allclose(ours, judge.numpy().transpose(0, 2, 3, 1), atol=1e-6)

    def test_conv_norm_config(self):
        layer = ConvNorm(6, 1, activate=False, seed=3)
        assert ConvNorm.from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize("head", NAMES)
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"classes": 0}, "needs at least one class"),
        ({"token_merging": 1}, "token_merging takes patches out of their places"),
    ],
)
def test_what_no_head_takes(head, arguments, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        segmenter(head=head, **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("head", "arguments", "sentence"),
    [
        ("fnp", {}, "did you mean 'fpn'"),
        ("fpn", {"head_options": {"with": 3}}, "did you mean 'width'"),
        ("linear", {"head_options": {"width": 3}}, "no option 'width'"),
        ("fpn", {"head_options": {"width": 0}}, "width is a positive whole number"),
        ("dpt", {"head_options": {"width": 3.5}}, "width is a positive whole number"),
        ("mask", {"head_options": {"width": 33}}, "width is a positive multiple of 2"),
        ("mask", {"head_options": {"blocks": 0}}, "blocks is a positive whole number"),
        ("mask", {"head_options": {"dropout": 1}}, "dropout is at least 0 and below 1"),
        ("mask", {"classes": 1}, "needs two or more"),
        ("upernet", {"head_options": {"bins": 3}}, "bins are the sides of its grids"),
        ("upernet", {"head_options": {"bins": [0]}}, "bins is a positive whole number"),
    ],
)
def test_wrong_options_get_one_sentence(head, arguments, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        segmenter(head=head, **arguments)
    assert "\n" not in str(caught.value)

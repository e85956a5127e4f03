"""`build`: golden parameter counts, save and load, precision, options, errors; nothing that is registered escapes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import keras_vit
from keras_vit.errors import InputError
from keras_vit.heads import HEADS
from keras_vit.heads.classification import POOLINGS
from keras_vit.variants import FAMILIES, parse
from keras_vit.weights.catalogue import entries

GOLDEN = {
    "mu16": 76_712,
    "ti16": 5_717_416,
    "s16": 22_050_664,
    "s32": 22_878_952,
    "m16": 38_837_736,
    "b8": 86_576_872,
    "b16": 86_567_656,
    "b32": 88_224_232,
    "l16": 304_326_632,
    "l32": 306_535_400,
    "h14": 632_045_800,
    "so400m14": 413_597_656,
    "g14": 1_012_611_432,
}
"""Parameters at 224 pixels with a class token and 1000 classes (timm counts the same)."""

SMALL = {"num_classes": 5, "image_size": (32, 48)}


def pixels(batch: int = 2, shape=(32, 48, 3)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (batch, *shape)).astype("uint8")


def count_at_full_depth(name: str, **arguments) -> int:
    """Blocks are alike, so one and two of them tell the count of any depth without gigabytes of weights."""
    one, two = (keras_vit.build(name, depth=depth, **arguments).count_params() for depth in (1, 2))
    return one + (parse(name).size.depth - 1) * (two - one)


class TestParameterCounts:
    def test_no_model_escapes(self):
        named = {name for name in keras_vit.list_models() if parse(name).size_name != "mu"}
        plain = {name for name in named if name.startswith(("vit_", "deit_")) and name.split("_")[1] in GOLDEN}
        assert named - plain <= {name for name in named if entries(name)}
        assert {parse(name).family_name for name in keras_vit.list_models()} == set(FAMILIES)

    @pytest.mark.parametrize("name", [f"{family}_{size}" for family in ("vit", "deit") for size in GOLDEN])
    def test_golden(self, name):
        assert count_at_full_depth(name, num_classes=1000, image_size=224) == GOLDEN[name.split("_", 1)[1]]

    @pytest.mark.parametrize("name", ["vit_ti16", "deit_ti16", "vit_s16", "vit_b16"])
    def test_golden_at_full_depth(self, name):
        assert keras_vit.build(name, num_classes=1000).count_params() == GOLDEN[name.split("_", 1)[1]]

    @pytest.mark.parametrize("name", [name for name in keras_vit.list_models() if entries(name)])
    def test_published(self, name):
        """The catalogue has the exact counts of the published networks."""
        entry = min(entries(name).values(), key=lambda entry: (bool(entry.options), "nobias" in entry.tag, entry.tag))
        count = count_at_full_depth(name, num_classes=entry.classes, image_size=entry.image_size, **entry.options)
        size = parse(name).size
        # The largest DINOv3 was published without biases of query and value; here they are there, and zero.
        without = 2 * size.width * size.depth if name.startswith("dinov3") and "qkvb" not in entry.timm else 0
        assert count == entry.parameters + without


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("task", "pooling"),
    [(task, pooling) for task, heads in HEADS.items() for pooling in ([None] if heads.dense else POOLINGS)],
)
def test_every_family_task_and_pooling_saves_and_reloads(family, pooling, task, tmp_path):
    # The families that pool otherwise have no class token unless they are asked to.
    needs = {"class_token": True} if pooling == "token" else {}
    model = keras_vit.build(
        f"{family}_mu16", pooling=pooling, task=task, dropout=0.1, drop_path=0.1, depth=2, **needs, **SMALL
    )
    path = tmp_path / "model.keras"
    model.save(path)
    copy = keras.saving.load_model(path)
    np.testing.assert_array_equal(copy(pixels()), model(pixels()))
    assert keras_vit.preprocessing_of(copy) == keras_vit.preprocessing_of(model)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_precision(dtype, tmp_path):
    model = keras_vit.build("vit_mu16", dtype=dtype, seed=0, **SMALL)
    reference = keras_vit.build("vit_mu16", seed=0, **SMALL)
    logits = model(pixels())
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    np.testing.assert_allclose(logits, reference(pixels()), atol=2e-3 if dtype != "float32" else 0)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(pixels()), logits)


def test_mixed_float16_trains_under_loss_scaling():
    model = keras_vit.build("vit_mu16", dtype="mixed_float16", **SMALL)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)


def test_uint8_and_float_pixels_are_the_same():
    model = keras_vit.build("vit_mu16", **SMALL)
    np.testing.assert_array_equal(model(pixels()), model(pixels().astype("float32")))


def test_compiled_equals_eager():
    model = keras_vit.build("vit_mu16", depth=2, **SMALL)
    eager = ops.convert_to_numpy(model(pixels()))
    model.compile(jit_compile=True)
    np.testing.assert_allclose(model.predict(pixels(), verbose=0), eager, atol=1e-5)


def test_normalisation_is_the_first_layer_and_follows_the_record():
    record = keras_vit.Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.2), crop=0.8)
    model = keras_vit.build("vit_mu16", preprocessing=record, seed=1, **SMALL)
    bare = keras_vit.build("vit_mu16", normalize=False, seed=1, **SMALL)
    normalised = ((pixels() / 255 - np.array(record.mean)) / np.array(record.std)).astype("float32")
    np.testing.assert_allclose(model(pixels()), bare(normalised), atol=1e-5)
    assert keras_vit.preprocessing_of(model).image_size == (32, 48)
    assert keras_vit.preprocessing_of(model).crop == 0.8
    with pytest.raises(InputError, match="no normalisation layer"):
        keras_vit.preprocessing_of(bare)


def test_options():
    features = keras_vit.build("vit_mu16", num_classes=0, image_size=32)
    assert features.output_shape == (None, 32)
    grey = keras_vit.build("deit_mu16", num_classes=3, image_size=32, in_channels=1)
    assert grey(pixels(2, (32, 32, 1))).shape == (2, 3)
    assert keras_vit.preprocessing_of(grey).mean == pytest.approx((0.449,))
    zero = keras_vit.build("vit_mu16", zero_head=True, **SMALL)
    assert not np.asarray(zero(pixels())).any()
    bare = keras_vit.build("vit_mu16", class_token=False, pooling="avg", **SMALL)
    assert "class_token" not in [layer.name for layer in bare.layers]
    assert bare.get_layer("position_embedding").embedding.shape == (6, 32)
    deep = keras_vit.build("vit_mu16", depth=4, drop_path=0.3, **SMALL)
    rates = [deep.get_layer(f"block_{i}").drop_path for i in range(4)]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])


def test_seed_repeats_the_weights():
    one, two, other = (keras_vit.build("vit_mu16", seed=seed, **SMALL).get_weights() for seed in (3, 3, 4))
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
    assert not all((a == b).all() for a, b in zip(one, other, strict=True))


def test_weights_of_another_image_size_are_resampled_on_load(tmp_path):
    model = keras_vit.build("vit_mu16", num_classes=5, image_size=64)
    model.save_weights(tmp_path / "w.weights.h5")
    other = keras_vit.build("vit_mu16", **SMALL)
    other.load_weights(tmp_path / "w.weights.h5")
    assert other.get_layer("position_embedding").embedding.shape == (7, 32)
    np.testing.assert_array_equal(
        other.get_layer("position_embedding").embedding[0], model.get_layer("position_embedding").embedding[0]
    )


def test_training_learns():
    """Forty steps of full-batch training tell bright images from dark ones."""
    model = keras_vit.build("vit_mu16", num_classes=2, image_size=32, seed=0)
    labels = np.arange(32) % 2
    images = pixels(32, (32, 32, 3)) // 2 + (labels * 100)[:, None, None, None].astype("uint8")
    model.compile(keras.optimizers.AdamW(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = model.fit(images, labels, batch_size=32, epochs=40, verbose=0).history["loss"]
    assert losses[-1] < 0.1 < 0.5 < losses[0]


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("vit_b17x", {}, "did you mean 'vit_b16'"),
        ("resnet50", {}, "There is no model 'resnet50'"),
        ("vit_b16", {"image_size": 230}, "use 224 or 240"),
        ("vit_b16", {"image_size": (224, 100)}, "side of 100 pixels cannot be cut into the 16-pixel patches"),
        ("vit_b16", {"image_size": 5}, "use 16"),
        ("vit_b16", {"image_size": (1, 2, 3)}, "image_size is a number of pixels"),
        ("vit_b16", {"pooling": "tokens"}, "did you mean 'token'"),
        ("vit_b16", {"class_token": False}, "needs the class token"),
        ("vit_b16", {"pooling": "avg", "task": "segmentation"}, "pooling is of classification"),
        ("vit_b16", {"task": "classfication"}, "did you mean 'classification'"),
        ("vit_b16", {"num_classes": -1}, "num_classes is a whole number"),
        ("vit_b16", {"preprocessing": "imagnet"}, "did you mean 'imagenet'"),
        ("vit_b16", {"position_init": "sine"}, "no position_init"),
        ("vit_b16", {"drop_path": 1.0}, "drop_path is at least 0 and below 1"),
        ("vit_b16", {"depth": 0}, "depth is at least 1"),
        ("vit_b16", {"weights": "augreg_in21k_ft_in1"}, "did you mean 'augreg_in21k_ft_in1k'"),
        ("vit_so400m14", {"weights": "webli"}, "no published weights for 'vit_so400m14'"),
        ("dinov2_ti14", {}, "There is no model 'dinov2_ti14'"),
        ("dinov2_h14", {}, "the sizes of dinov2 are s, b, l, g"),
        ("vit_b16", {"registers": -1}, "registers is a whole number"),
        ("beit_b16", {"class_token": False}, "one class token and no registers"),
        ("vit_b16", {"weights": "nowhere.safetensors"}, "There is no file or folder nowhere.safetensors"),
    ],
)
def test_wrong_arguments_get_one_sentence(name, arguments, sentence):
    with pytest.raises(InputError) as caught:
        keras_vit.build(name, **{"num_classes": 5, **arguments})
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_list_models():
    assert "vit_b16" in keras_vit.list_models("vit_b*")
    assert keras_vit.list_models("nothing*") == []
    assert all(parse(name).name == name for name in keras_vit.list_models())
    assert parse("vit_ti4").patch == 4

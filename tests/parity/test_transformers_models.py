"""What single models of transformers have that others have not, and what cannot be written for it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from judges import (
    BEIT,
    JUDGES,
    RECTANGLE,
    SMALL,
    SQUARE,
    WITHOUT,
    assert_same,
    average,
    class_token,
    drawn,
    images_of,
    loaded,
    logits_of,
    ours,
    run,
    saved,
    torch,
    transformers,
)
from safetensors.numpy import load_file, save_file

import keras_vit
from keras_vit.errors import InputError
from keras_vit.variants import FAMILIES, SIZES


@pytest.mark.parametrize(
    ("family", "hidden", "changes"),
    [
        ("dinov2", 88, {"use_swiglu_ffn": True}),
        ("dinov2_reg", 88, {"use_swiglu_ffn": True}),
        ("dinov3", 128, {"use_gated_mlp": True, "hidden_act": "silu"}),
    ],
)
@pytest.mark.parametrize("original", [True, False], ids=["hub", "of_5"])
def test_gated_mlp(family, hidden, changes, original, tmp_path, monkeypatch):
    """The large sizes have it; here the small one gets it too."""
    gated = dataclasses.replace(SIZES["mu"], mlp_dim=hidden, gated=True)
    monkeypatch.setitem(FAMILIES[family].own, "mu", gated)
    judge, images = JUDGES[family], images_of(SQUARE)
    theirs = judge.model(SQUARE, **changes)
    wanted = judge.features(run(theirs, images))
    encoder = ours(family, saved(theirs, tmp_path / "theirs", save_original_format=original), SQUARE)
    assert_same(encoder(images), wanted)
    folder = keras_vit.weights.save(encoder, tmp_path / "ours", dialect="huggingface")
    assert_same(judge.features(run(loaded(judge.base, folder), images)), wanted)


def test_dinov3_without_biases(tmp_path):
    judge, images = JUDGES["dinov3"], images_of(RECTANGLE)
    theirs = judge.model(RECTANGLE, query_bias=False, value_bias=False)
    encoder = ours("dinov3", saved(theirs, tmp_path), RECTANGLE)
    assert_same(encoder(images), judge.features(run(theirs, images)))


@pytest.mark.parametrize(("family", "stem"), [("clip", "CLIP"), ("openclip", "CLIP"), ("siglip", "Siglip")])
def test_whole_models_of_images_and_texts(family, stem, tmp_path):
    images, judge = images_of(SQUARE), JUDGES[family]
    text = {**SMALL, "vocab_size": 9, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}
    text.pop("patch_size")
    config = getattr(transformers, f"{stem}Config")(
        vision_config={**SMALL, **judge.settings, "image_size": 48}, text_config=text, projection_dim=7
    )
    whole = drawn(getattr(transformers, f"{stem}Model")(config))
    weights = saved(whole, tmp_path)
    assert_same(ours(family, weights, SQUARE)(images), run(whole.vision_model, images).pooler_output)
    if stem == "CLIP":
        with torch.no_grad():
            wanted = whole.visual_projection(run(whole.vision_model, images).pooler_output)
        assert_same(ours(family, weights, SQUARE, 7)(images), wanted)


def test_siglip_classifies_the_average(tmp_path):
    images = images_of(SQUARE)
    config = transformers.SiglipConfig(vision_config={**SMALL, "image_size": 48}, num_labels=7)
    theirs = drawn(transformers.SiglipForImageClassification(config))
    weights, wanted = saved(theirs, tmp_path / "theirs"), logits_of(run(theirs, images))
    model = ours("siglip", weights, SQUARE, 7, pooling="avg")
    assert_same(model(images), wanted)
    folder = keras_vit.weights.save(model, tmp_path / "ours", dialect="huggingface")
    assert_same(logits_of(run(loaded("SiglipForImageClassification", folder), images)), wanted)
    with pytest.raises(InputError, match="unknown classifier"):
        ours("siglip", weights, SQUARE, 7)
    encoder = ours("siglip", folder, SQUARE, pooling="avg")
    folder = keras_vit.weights.save(encoder, tmp_path / "features", dialect="huggingface")
    assert_same(average(run(loaded("SiglipVisionModel", folder), images)), encoder(images))


def test_beit_before_fine_tuning_has_one_table_for_all_blocks(tmp_path):
    images = images_of(SQUARE)
    config = transformers.BeitConfig(
        **SMALL, image_size=48, vocab_size=9, use_mask_token=True, use_shared_relative_position_bias=True
    )
    theirs = drawn(transformers.BeitForMaskedImageModeling(config))
    with torch.no_grad():
        wanted = theirs.layernorm(run(theirs.beit, images).last_hidden_state)[:, 0]
    for original in (True, False):
        folder = saved(theirs, tmp_path / str(original), save_original_format=original)
        assert_same(ours("beit", folder, SQUARE, pooling="token")(images), wanted)


def test_beit_that_classifies_its_class_token(tmp_path):
    judge = dataclasses.replace(BEIT, settings={"use_relative_position_bias": True, "use_mean_pooling": False})
    images, theirs = images_of(SQUARE), judge.model(SQUARE, 7)
    wanted = logits_of(run(theirs, images))
    model = ours("beit", saved(theirs, tmp_path / "theirs"), SQUARE, 7, pooling="token")
    assert_same(model(images), wanted)
    folder = keras_vit.weights.save(model, tmp_path / "ours", dialect="huggingface")
    assert_same(logits_of(run(loaded("BeitForImageClassification", folder), images)), wanted)


def test_mae_with_its_decoder(tmp_path):
    judge, images = JUDGES["mae"], images_of(SQUARE)
    config = transformers.ViTMAEConfig(
        **SMALL, image_size=48, mask_ratio=0.0, decoder_hidden_size=16, decoder_num_attention_heads=2
    )
    theirs = drawn(transformers.ViTMAEForPreTraining(config))
    encoder = ours("mae", saved(theirs, tmp_path), SQUARE)
    assert_same(encoder(images), judge.features(run(theirs.vit, images)))


def test_classifier_of_the_average(tmp_path):
    images, judge = images_of(SQUARE), JUDGES["dinov2"]
    theirs = judge.model(SQUARE, 7)
    weights = saved(theirs, tmp_path / "theirs")
    model = ours("dinov2", None, SQUARE, 7)
    before = model.get_weights()
    with pytest.raises(InputError, match="the class token and the average"):
        keras_vit.weights.load(model, weights)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))

    theirs.classifier.weight.data[:, :32] = 0
    model = ours("dinov2", saved(theirs, tmp_path / "average"), SQUARE, 7, pooling="avg")
    assert_same(model(images), logits_of(run(theirs, images)))
    folder = keras_vit.weights.save(model, tmp_path / "ours", dialect="huggingface")
    assert_same(logits_of(run(loaded("Dinov2ForImageClassification", folder), images)), model(images))


def test_other_numbers_of_registers(tmp_path):
    judge, images = JUDGES["dinov2_reg"], images_of(SQUARE)
    theirs = judge.model(SQUARE, num_register_tokens=2)
    encoder = ours("dinov2_reg", saved(theirs, tmp_path / "theirs"), SQUARE, registers=2)
    folder = keras_vit.weights.save(encoder, tmp_path / "ours", dialect="huggingface")
    for model in (theirs, loaded("Dinov2WithRegistersModel", folder)):
        assert_same(encoder(images), class_token(run(model, images)))


def test_positions_are_resampled_as_theirs_are(tmp_path):
    """The one class of theirs that resamples with antialiasing, as its original did."""
    judge, images = JUDGES["dinov2_reg"], images_of((32, 80))
    theirs = judge.model((64, 64))
    encoder = ours("dinov2_reg", saved(theirs, tmp_path), (32, 80))
    assert_same(encoder(images), judge.features(run(theirs, images)))


def test_buffers_of_older_files_are_no_weights(tmp_path):
    index = np.arange(10)
    for family, name in {
        "clip": "embeddings.position_ids",
        "beit": "encoder.layer.0.attention.attention.relative_position_bias.relative_position_index",
    }.items():
        judge, images = JUDGES[family], images_of(SQUARE)
        theirs = judge.model(SQUARE)
        file = saved(theirs, tmp_path / family) / "model.safetensors"
        save_file(load_file(file) | {name: index}, file)
        assert_same(ours(family, file, SQUARE)(images), judge.features(run(theirs, images)))


def test_the_real_deit(shared_weights, tmp_path):
    with np.load(shared_weights / "deit_tiny_patch16_224_reference.npz") as arrays:
        image, wanted = arrays["first_input_nhwc"], arrays["logits"][:1]
    weights = shared_weights / "deit_tiny_patch16_224.safetensors"
    model = keras_vit.build("deit_ti16", num_classes=1000, weights=weights)
    folder = keras_vit.weights.save(model, tmp_path, dialect="huggingface")
    assert_same(logits_of(run(loaded("ViTForImageClassification", folder), image)), wanted, 1e-4)


@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_their_image_processor_prepares_as_ours(fit, tmp_path):
    from keras_vit.data.geometry import resize_and_crop
    from keras_vit.preprocessing import PRESETS

    record = dataclasses.replace(PRESETS["clip"], fit=fit)
    model = keras_vit.build("clip_mu16", num_classes=0, image_size=48, preprocessing=record)
    folder = keras_vit.weights.save(model, tmp_path, dialect="huggingface")
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    photo = np.random.default_rng(0).integers(0, 256, (9, 12, 3), "uint8").repeat(9, 0).repeat(9, 1)
    given = processor(photo, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
    wanted = resize_and_crop(photo, dataclasses.replace(record, image_size=(48, 48))).numpy() / 255
    assert np.abs(given - (wanted - record.mean) / record.std).max() < 0.05


class TestRefused:
    def refuse(self, tmp_path, family: str, *words: str, image_size=SQUARE, num_classes=0, **changes):
        model = ours(family, None, image_size, num_classes, **changes)
        with pytest.raises(InputError) as caught:
            keras_vit.weights.save(model, tmp_path / "out", dialect="huggingface")
        assert all(word in str(caught.value) for word in words), caught.value
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("family", sorted(WITHOUT))
    def test_families_without_a_model(self, family, tmp_path):
        self.refuse(tmp_path, family, f"no model of the family {family}", "timm")

    @pytest.mark.parametrize(
        "family", [family for family, judge in JUDGES.items() if not (judge.rectangles or judge.back)]
    )
    def test_rectangles(self, family, tmp_path):
        self.refuse(tmp_path, family, "square images only, not 48 x 80", image_size=RECTANGLE)

    @pytest.mark.parametrize(
        ("family", "pooling"), [("vit", "avg"), ("siglip", "map"), ("ijepa", "map"), ("dinov3", "token")]
    )
    def test_classifiers_after_another_pooling(self, family, pooling, tmp_path):
        self.refuse(tmp_path, family, "classifies after pooling", pooling, num_classes=3, pooling=pooling)

    def test_tokens_that_they_do_not_have(self, tmp_path):
        self.refuse(tmp_path, "vit", "other tokens", registers=4)
        self.refuse(tmp_path, "vit", "other tokens", class_token=False, pooling="avg")
        self.refuse(tmp_path, "dinov3", "other tokens", registers=0)

    def test_attention_pooling(self, tmp_path):
        self.refuse(tmp_path, "vit", "no name for pool/", pooling="map")

    def test_a_bias_after_clip(self, tmp_path):
        model = ours("clip", None, SQUARE, 3)
        model.get_layer("head").bias.assign([1.0, 0.0, 0.0])
        with pytest.raises(InputError, match="has a bias that is not zero"):
            keras_vit.weights.save(model, tmp_path, dialect="huggingface")

    def test_their_file_for_a_family_that_they_do_not_have(self, tmp_path):
        with pytest.raises(InputError, match="no model of the family eva02"):
            ours("eva02", saved(JUDGES["vit"].model(SQUARE), tmp_path), SQUARE)

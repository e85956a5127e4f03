"""Features of every family, task and pooling: those that the model's own classifier is given."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_vit
from keras_vit.data import Examples
from keras_vit.errors import InputError
from keras_vit.probing import Embedder, embed
from keras_vit.variants import FAMILIES
from keras_vit.weights.architecture import variables_of

SMALL = {"image_size": (32, 48), "depth": 1, "seed": 0}


def pixels(count: int = 3, shape=(32, 48, 3)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype("uint8")


def without_classes(model: keras.Model, **arguments) -> keras.Model:
    """The same weights in a model that was built for features."""
    encoder = keras_vit.build(model.name, num_classes=0, **{**SMALL, **arguments})
    given = variables_of(model)
    for path, variable in variables_of(encoder).items():
        variable.assign(given[path])
    return encoder


def close(given, wanted, bound: float = 1e-5):
    wanted = keras.ops.convert_to_numpy(wanted)
    assert given.shape == wanted.shape
    assert given.dtype == np.float32
    assert np.abs(given - wanted).max() <= bound * np.abs(wanted).max()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_what_its_classifier_is_given(family, randomize):
    model = keras_vit.build(f"{family}_mu16", num_classes=5, **SMALL)
    randomize(model)
    encoder = without_classes(model)
    found = Embedder(model)
    assert found.width == 32
    close(found(pixels()), encoder(pixels()))


@pytest.mark.parametrize("family", ["dinov2_reg", "deit_distilled", "beit", "siglip"])
def test_other_poolings_are_those_of_models_built_so(family, randomize):
    model = keras_vit.build(f"{family}_mu16", num_classes=5, **SMALL)
    randomize(model)
    wanted = {"avg": without_classes(model, pooling="avg")(pixels())}
    close(Embedder(model, "avg")(pixels()), wanted["avg"])
    if family == "siglip":
        with pytest.raises(InputError, match="siglip_mu16 has no class token, which pooling 'both' takes: use 'avg'"):
            Embedder(model, "both")
        return
    wanted["token"] = without_classes(model, pooling="token")(pixels())
    close(Embedder(model, "both")(pixels()), np.concatenate([wanted["token"], wanted["avg"]], axis=1))


@pytest.mark.parametrize(("task", "head"), [("segmentation", "dpt"), ("detection", "anchor_free")])
def test_models_for_places_give_the_mean_of_their_patches(task, head, randomize):
    model = keras_vit.build("vit_reg_mu16", task=task, head=head, num_classes=3, **{**SMALL, "depth": 4})
    randomize(model)
    maps = keras_vit.features(model, norm=True)(pixels())
    close(Embedder(model)(pixels()), np.mean(maps, axis=(1, 2)))


def test_models_that_end_before_the_last_normalisation_do_without():
    maps = keras_vit.features(keras_vit.build("vit_mu16", num_classes=0, **SMALL))
    close(Embedder(maps)(pixels()), np.mean(maps(pixels()), axis=(1, 2)))


def test_merged_tokens_count_as_many_as_they_stand_for(randomize):
    changes = {"image_size": (64, 64), "depth": 2, "token_merging": {0: 4}}
    model = keras_vit.build("vit_mu16", num_classes=5, pooling="token", **{**SMALL, **changes})
    randomize(model)
    images = pixels(shape=(64, 64, 3))
    close(Embedder(model, "avg")(images), without_classes(model, pooling="avg", **changes)(images))


def test_half_precision_and_grey_images():
    model = keras_vit.build("vit_mu16", num_classes=2, dtype="mixed_bfloat16", in_channels=1, **SMALL)
    images = pixels(shape=(32, 48, 1))
    close(Embedder(model)(images), keras.ops.cast(without_classes(model, in_channels=1)(images), "float32"), 0.05)


def test_embed_prepares_images_as_the_record_says_and_in_order(blobs):
    from keras_vit.data import image_dataset, load

    model = keras_vit.build("vit_mu4", num_classes=0, image_size=(16, 24), depth=1, seed=0)
    examples = load(str(blobs), progress=False).test
    features = embed(model, examples, batch_size=7, progress=False)
    (images,) = image_dataset(examples, keras_vit.preprocessing_of(model), batch_size=len(examples))
    close(features, model(images))


def test_nothing_is_copied_and_what_is_learned_shows():
    model = keras_vit.build("vit_mu16", num_classes=2, **SMALL)
    config, count = model.to_json(), len(model.weights)
    found = Embedder(model)
    before = found(pixels())
    model.get_layer("norm").gamma.assign(2 * model.get_layer("norm").gamma)
    close(found(pixels()), 2 * before)
    assert (model.to_json(), len(model.weights)) == (config, count)


def test_of_a_reloaded_model(tmp_path):
    model = keras_vit.build("mae_mu16", num_classes=2, **SMALL)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        Embedder(keras.saving.load_model(tmp_path / "model.keras"))(pixels()), Embedder(model)(pixels())
    )


def test_wrong_input_gets_one_sentence():
    stranger = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="stranger")
    for given in (stranger, None):
        with pytest.raises(InputError, match=r"made by keras_vit\.build"):
            Embedder(given)
    model = keras_vit.build("vit_mu16", num_classes=0, **SMALL)
    with pytest.raises(InputError, match="no pooling 'avgs' of features: did you mean 'avg'"):
        Embedder(model, "avgs")
    with pytest.raises(InputError, match="no preprocessing record"):
        Embedder(keras_vit.build("vit_mu16", num_classes=0, normalize=False, **SMALL))
    with pytest.raises(InputError, match="holds no images"):
        embed(model, Examples(np.zeros(0, int), images=pixels(0)))

"""Files that fit in names and shapes and are of another network: refused, or said, where the file knows."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import keras_vit
from keras_vit.errors import InputError
from keras_vit.variants import FAMILIES, parse
from keras_vit.weights.load import fill
from keras_vit.weights.source import locate

SETTINGS = {"num_classes": 5, "image_size": 32, "normalize": False}


def drawn(name: str, seed: int = 1, **settings) -> keras.Model:
    """A model in which every variable matters to the outputs."""
    model = keras_vit.build(name, **{**SETTINGS, **settings}, seed=seed)
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(rng.normal(1.0 if variable.name == "gamma" else 0.0, 0.2, variable.shape))
    return model


def bare(folder: Path) -> Path:
    """The weights file of a folder, without what it says about itself."""
    path = folder / "bare.safetensors"
    save_file({name: array.copy() for name, array in load_file(folder / "model.safetensors").items()}, path)
    return path


def configured(folder: Path, **changes) -> Path:
    """A folder as other programs write it: only `config.json` says what the network is. None drops a setting."""
    bare(folder).rename(folder / "model.safetensors")
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
    return folder


def written(tmp_path: Path, name: str, dialect: str = "huggingface", **settings) -> Path:
    return keras_vit.weights.save(drawn(name, **settings), tmp_path, dialect=dialect)


def refuse(name: str, weights: Path, *words: str, **settings):
    with pytest.raises(InputError) as caught:
        keras_vit.build(name, **{**SETTINGS, **settings}, weights=weights)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(("dialect", "num_classes"), [("timm", 5), ("huggingface", 0), ("keras", 5)])
def test_no_family_is_taken_for_another_in_silence(dialect, num_classes, tmp_path, capsys):
    """Every family's arrays, bare, into every family: the outputs are the same, or it is refused, or said."""
    images = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    targets = {name: keras_vit.build(f"{name}_mu16", **{**SETTINGS, "num_classes": num_classes}) for name in FAMILIES}
    for family in FAMILIES:
        source, weights = drawn(f"{family}_mu16", num_classes=num_classes), tmp_path / f"{family}.keras"
        try:
            if dialect == "keras":
                source.save(weights)
            else:
                weights = bare(keras_vit.weights.save(source, tmp_path / family, dialect=dialect))
        except InputError:
            continue  # transformers has no such model
        opened = locate(weights, parse(source.name))
        for name, target in targets.items():
            capsys.readouterr()
            try:
                fill(target, opened)
            except InputError:
                assert name != family
                continue
            if not capsys.readouterr().out:
                np.testing.assert_allclose(target(images), source(images), atol=1e-4, err_msg=f"{family} as {name}")


class TestActivation:
    def test_twins_are_told_apart_by_what_the_file_says(self, tmp_path):
        for dialect in ("timm", "huggingface"):
            folder = written(tmp_path / dialect, "clip_mu16", dialect, num_classes=0)
            refuse("openclip_mu16", folder, "trained with the activation 'quick_gelu'", "clip", num_classes=0)
            refuse("openclip_mu16", configured(folder), "trained with the activation 'quick_gelu'", num_classes=0)

    def test_a_file_that_says_nothing(self, tmp_path, capsys):
        weights = bare(written(tmp_path, "clip_mu16", "timm"))
        keras_vit.build("clip_mu16", **SETTINGS, weights=weights)
        assert "does not say its activation: it is taken for quick_gelu, which openclip has not" in (
            capsys.readouterr().out
        )

    def test_unsaid_by_transformers_it_is_the_class_own(self, tmp_path):
        """`save_pretrained` leaves out what is the default of the class."""
        folder = configured(written(tmp_path, "clip_mu16", num_classes=0), hidden_act=None)
        refuse("openclip_mu16", folder, "trained with the activation 'quick_gelu'", num_classes=0)
        keras_vit.build("clip_mu16", **{**SETTINGS, "num_classes": 0}, weights=folder)

    def test_defaults_are_those_of_transformers(self):
        pytest.importorskip("transformers", reason="needs transformers, which the test extra installs")
        from transformers import CONFIG_MAPPING

        from keras_vit.weights.dialects.huggingface import NAMES
        from keras_vit.weights.formats.settings import ACTIVATIONS, UNSAID_ACTIVATIONS

        for kind in NAMES:
            default = ACTIVATIONS[CONFIG_MAPPING[kind]().hidden_act]
            assert UNSAID_ACTIVATIONS.get(kind, "gelu") == default, kind


class TestHeads:
    @pytest.mark.parametrize("dialect", ["timm", "huggingface"])
    def test_another_number_than_the_file_says(self, dialect, tmp_path):
        folder = configured(written(tmp_path, "vit_mu16", dialect))
        path = folder / "config.json"
        path.write_text(path.read_text().replace('"num_heads": 2', '"num_heads": 4'))
        path.write_text(path.read_text().replace('"num_attention_heads": 2', '"num_attention_heads": 4'))
        refuse("vit_mu16", folder, "'4' attention heads, and vit_mu16 has 2")

    def test_inside_the_vision_config(self, tmp_path):
        folder = written(tmp_path, "siglip_mu16", pooling="avg")
        config = json.loads((folder / "config.json").read_text())
        configured(folder, vision_config={**config["vision_config"], "num_attention_heads": 8})
        refuse("siglip_mu16", folder, "'8' attention heads", pooling="avg")

    def test_of_an_architecture_of_timm(self, tmp_path):
        """A file as timm's authors publish it has the name of the architecture and no settings."""
        folder = written(tmp_path, "vit_mu16", "timm")
        configured(folder, architecture="vit_small_patch16_224", model_args=None)
        refuse("vit_mu16", folder, "'6' attention heads, and vit_mu16 has 2")


@pytest.mark.parametrize(("epsilon", "said"), [(1e-12, False), (1e-6, False), (1e-5, False), (1e-3, True)])
def test_epsilon_is_said_where_it_shows(epsilon, said, tmp_path, capsys):
    folder = configured(written(tmp_path, "vit_mu16"), layer_norm_eps=epsilon)
    capsys.readouterr()
    keras_vit.build("vit_mu16", **SETTINGS, weights=folder)
    assert ("normalisations had epsilon 0.001, the model's have 1e-06" in capsys.readouterr().out) is said


class TestPooling:
    def test_a_classifier_that_was_trained_on_another(self, tmp_path, capsys):
        folder = written(tmp_path, "vit_mu16", "timm")
        for weights in (folder, configured(folder)):
            capsys.readouterr()
            model = keras_vit.build("vit_mu16", **SETTINGS, pooling="avg", weights=weights)
            said = "the classifier was trained on pooling='token' and sees pooling='avg' here"
            assert said in capsys.readouterr().out
            assert said in model.adapted_weights

    def test_a_norm_behind_the_average_shows_it(self, tmp_path, capsys):
        weights = bare(written(tmp_path, "mae_mu16", "timm", pooling="avg"))
        capsys.readouterr()
        keras_vit.build("mae_mu16", **SETTINGS, weights=weights)
        assert "trained on pooling='avg' and sees pooling='token' here" in capsys.readouterr().out

    def test_nothing_is_said_of_a_fresh_classifier(self, tmp_path, capsys):
        folder = written(tmp_path, "vit_mu16", "timm")
        capsys.readouterr()
        keras_vit.build("vit_mu16", **{**SETTINGS, "num_classes": 6}, pooling="avg", weights=folder)
        assert "pooling=" not in capsys.readouterr().out


def test_a_second_classifier_is_named_as_such(tmp_path, capsys):
    folder = written(tmp_path, "deit_distilled_mu16", "timm")
    capsys.readouterr()
    keras_vit.build("deit_mu16", **SETTINGS, registers=1, weights=folder)
    assert "the file's second classifier is left out" in capsys.readouterr().out

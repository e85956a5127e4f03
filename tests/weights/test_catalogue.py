"""The catalogue: every entry is well-formed, agrees with published facts and with the installed timm."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import sys
from pathlib import Path

import pytest

from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing
from keras_vit.variants import parse
from keras_vit.weights import catalogue

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_catalogue.py"
NAMES = catalogue.list_weights()


def entry(name: str) -> catalogue.Entry:
    return catalogue.find(*name.split("."))


def test_there_are_many():
    assert len(NAMES) >= 150
    assert sorted(set(NAMES), key=lambda name: name.split(".")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_entry_is_well_formed(name):
    found = entry(name)
    patch = parse(found.architecture).patch
    assert found.name == name
    assert isinstance(found.preprocessing, Preprocessing)
    assert found.preprocessing.channels == 3
    assert [side % patch for side in found.image_size] == [0, 0]
    assert re.fullmatch(r"hf:[\w-]+/[\w.-]+|https://\S+", found.source)
    assert found.licence
    assert found.classes >= 0
    assert found.parameters > 1e6
    assert found.megabytes == pytest.approx(found.parameters * 4e-6)
    assert (found.top1 is None) == (found.top1_from is None)
    assert found.top1 is None or (0.7 < found.top1 < 0.92 and found.classes == 1000)
    assert found.top1 is not None or found.classes != 1000
    assert found.options.keys() <= {"registers"}
    assert hash(found) == hash(dataclasses.replace(found))


@pytest.mark.parametrize(
    ("name", "parameters", "image_size", "top1"),
    [
        ("vit_b16.augreg_in21k_ft_in1k", 86_567_656, 224, 0.845),
        ("vit_b16.augreg_in21k_ft_in1k_384", 86_859_496, 384, 0.860),
        ("vit_b8.augreg2_in21k_ft_in1k", 86_576_872, 224, 0.862),
        ("vit_l16.augreg_in21k_ft_in1k", 304_326_632, 224, 0.858),
        ("vit_s16.augreg_in21k_ft_in1k", 22_050_664, 224, 0.814),
        ("deit_ti16.fb_in1k", 5_717_416, 224, 0.722),
        ("deit_s16.fb_in1k", 22_050_664, 224, 0.799),
        ("deit_b16.fb_in1k", 86_567_656, 224, 0.820),
        ("deit_distilled_ti16.fb_in1k", 5_910_800, 224, 0.745),
        ("deit3_h14.fb_in22k_ft_in1k", 632_126_440, 224, 0.872),
        ("beit_l16.in22k_ft_in22k_in1k_512", 305_674_728, 512, 0.886),
        ("eva02_l14.mim_m38m_ft_in22k_in1k", 305_080_232, 448, 0.900),
        ("dinov2_s14.lvd142m", 22_056_192, 518, None),
        ("dinov2_reg_g14.lvd142m", 1_136_483_840, 518, None),
        ("dinov3_7b16.lvd1689m", 6_716_030_976, 256, None),
        ("mae_h14.mae", 630_764_800, 224, None),
    ],
)
def test_published_facts(name, parameters, image_size, top1):
    found = entry(name)
    assert found.parameters == parameters
    assert found.image_size == (image_size, image_size)
    assert found.top1 == (None if top1 is None else pytest.approx(top1, abs=1e-3))


def test_one_entry_in_full():
    assert entry("eva02_b14.mim_in22k_ft_in22k_in1k") == catalogue.Entry(
        architecture="eva02_b14",
        tag="mim_in22k_ft_in22k_in1k",
        source="hf:timm/eva02_base_patch14_448.mim_in22k_ft_in22k_in1k",
        timm="eva02_base_patch14_448",
        image_size=(448, 448),
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
        crop=1.0,
        interpolation="bicubic",
        fit="squash",
        classes=1000,
        parameters=87_117_544,
        licence="mit",
        top1=0.88678,
        top1_from="huggingface/pytorch-image-models results/results-imagenet.csv: ImageNet-1k validation at 448x448",
        options={},
    )


def test_names_that_would_collide_are_told_apart():
    assert entry("dinov3_b16.lvd1689m").timm == "vit_base_patch16_dinov3_qkvb"
    assert entry("dinov3_b16.lvd1689m_nobias").timm == "vit_base_patch16_dinov3"
    assert entry("vit_reg_medium16.sbb_in1k").options == {}
    assert entry("vit_reg_medium16.sbb_in1k_reg1").options == {"registers": 1}
    assert entry("vit_reg_little16.sbb_in12k").options == {"registers": 1}
    # OpenAI's weights are listed with the quick GELU that they were trained with, and only there.
    assert entry("clip_b16.openai").timm == "vit_base_patch16_clip_quickgelu_224"
    assert "openai" not in catalogue.entries("openclip_b16")
    assert "openai_ft_in1k" in catalogue.entries("openclip_b16")
    # 384 is no multiple of 14, and pooling without attention is another network.
    assert not [name for name in catalogue.list_weights("siglip_so400m14.*") if entry(name).image_size[0] == 384]
    assert not [name for name in NAMES if "gap" in entry(name).timm and name.startswith("siglip")]


def test_patterns():
    assert catalogue.list_weights("deit_ti16") == ["deit_ti16.fb_in1k"]
    assert catalogue.list_weights("vit_b16") == [f"vit_b16.{tag}" for tag in catalogue.entries("vit_b16")]
    assert catalogue.list_weights("vit_b16.*_384") == [
        "vit_b16.augreg_in1k_384",
        "vit_b16.augreg_in21k_ft_in1k_384",
        "vit_b16.orig_in21k_ft_in1k_384",
    ]
    assert {name.split("_")[0] for name in catalogue.list_weights("*in21k*")} == {"flexivit", "vit"}
    assert set(catalogue.list_weights("vit_*")) > set(catalogue.list_weights("vit_b16"))
    assert catalogue.list_weights("resnet*") == []


def test_unknown_names_are_explained():
    with pytest.raises(InputError, match=r"no weights 'augreg_in21k_ft_in1' for vit_b16: did you mean 'augreg_in21k_"):
        catalogue.find("vit_b16", "augreg_in21k_ft_in1")
    with pytest.raises(InputError, match=r"no weights 'x' for deit_ti16: accepted are: fb_in1k"):
        catalogue.find("deit_ti16", "x")
    with pytest.raises(InputError, match=r"no published weights for 'vit_m16'.*list_weights"):
        catalogue.find("vit_m16", "augreg_in21k")
    assert catalogue.entries("vit_m16") == {}


@pytest.fixture(scope="module")
def script():
    """The maintainer's script as a module."""
    spec = importlib.util.spec_from_file_location("make_catalogue", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)  # where dataclasses look annotations up
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def timm():
    pytest.importorskip("torch", reason="needs torch, which the test extra installs")
    from peers import declare_torchvision_ops

    declare_torchvision_ops()
    return pytest.importorskip("timm", reason="needs timm, which the test extra installs")


@pytest.mark.slow
def test_script_gives_what_is_committed(script, timm):
    def without_top1(texts):
        return {name: re.sub(r'"top1": .*?, "options"', '"options"', text) for name, text in texts.items()}

    committed = {path.name: path.read_text("utf-8") for path in script.CATALOGUE.glob("*.json")}
    assert without_top1(script.catalogue({})) == without_top1(committed)


def test_script_reads_timms_table(script, tmp_path):
    table = tmp_path / "results-imagenet.csv"
    table.write_text("model,img_size,top1,top1_err\nvit_b.a,224,84.534,15.466\nvit_b.a,256,84.9,15.1\n")
    assert script.read_top1(table) == {("vit_b.a", 224): 0.84534, ("vit_b.a", 256): 0.849}
    table.write_text("model,infer_img_size\n")
    with pytest.raises(InputError, match="no columns model, img_size and top1"):
        script.read_top1(table)
    with pytest.raises(InputError, match="There is no file"):
        script.read_top1(tmp_path / "missing.csv")

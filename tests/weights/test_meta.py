"""The original PyTorch releases, with timm's converters of these files as the judge."""

from __future__ import annotations

import argparse
import re

import numpy as np
import pytest
from test_timm import assert_same, ours, outputs_of_timm, pixels, timm_model

import keras_vit
from keras_vit.errors import InputError
from keras_vit.variants import FAMILIES, Size
from keras_vit.weights.architecture import describe
from keras_vit.weights.dialects.meta import META
from keras_vit.weights.dialects.openai import OPENAI
from keras_vit.weights.formats import open_checkpoint
from keras_vit.weights.load import recognise
from keras_vit.weights.save import to_dialect

torch = pytest.importorskip("torch")
from timm.layers import SwiGLUPacked  # noqa: E402
from timm.models import beit, eva, vision_transformer  # noqa: E402

SIZE, CLASSES, D = (32, 48), 5, 32


def noise(*shape: int):
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def renamed(state: dict, *changes: tuple[str, str]) -> dict:
    """A state dict whose names are changed by regular expressions."""
    for pattern, replacement in changes:
        state = {re.sub(pattern, replacement, name): array for name, array in state.items()}
    return state


def mae_pretrained(state: dict) -> dict:
    return state | {"mask_token": noise(1, 1, D), "decoder_embed.weight": noise(8, D), "decoder_pos_embed": noise(1, 7)}


def dinov2(state: dict) -> dict:
    return renamed(state, (r"mlp\.fc1", "mlp.w12"), (r"mlp\.fc2", "mlp.w3")) | {"mask_token": noise(1, D)}


def dinov2_registers(state: dict) -> dict:
    class_position = noise(1, 1, D)
    state = renamed(state, ("reg_token", "register_tokens")) | {"mask_token": noise(1, D)}
    state["cls_token"] = state["cls_token"] - class_position
    state["pos_embed"] = torch.cat([class_position, state["pos_embed"]], dim=1)
    return state


def dinov3(state: dict) -> dict:
    state = renamed(
        state,
        ("reg_token", "storage_tokens"),
        (r"gamma_(\d)", r"ls\1.gamma"),
        (r"mlp\.fc2", "mlp.w3" if "blocks.0.mlp.fc1_g.weight" in state else "mlp.fc2"),
        (r"mlp\.fc1_g", "mlp.w1"),
        (r"mlp\.fc1_x", "mlp.w2"),
    )
    for block in range(2):
        query, value = (state.pop(f"blocks.{block}.attn.{name}_bias") for name in "qv")
        state[f"blocks.{block}.attn.qkv.bias"] = torch.cat([query, noise(D), value])
        state[f"blocks.{block}.attn.qkv.bias_mask"] = torch.full((3 * D,), torch.nan)
    more = {"mask_token": noise(1, D), "rope_embed.periods": noise(4), "local_cls_norm.weight": noise(D)}
    return state | more


def beit_finetuned(state: dict) -> dict:
    return state | {f"blocks.{i}.attn.relative_position_index": torch.zeros(7, 7, dtype=torch.int64) for i in range(2)}


def beit_pretrained(state: dict) -> dict:
    more = {"rel_pos_bias.relative_position_index": torch.zeros(7, 7, dtype=torch.int64), "lm_head.weight": noise(9, D)}
    return state | more | {"mask_token": noise(1, 1, D)}


def eva02(state: dict) -> dict:
    names = [(r"mlp\.fc1_g", "mlp.w1"), (r"mlp\.fc1_x", "mlp.w2"), (r"mlp\.fc2", "mlp.w3"), (r"mlp\.fc1", "mlp.w12")]
    names += [(r"mlp\.norm", "mlp.ffn_ln"), (r"(q|v)_proj\.bias", r"\1_bias")]
    state = renamed(state, *names) | {"rope.freqs_cos": noise(6, 16), "rope.freqs_sin": noise(6, 16)}
    return state | {"blocks.0.attn.rope.freqs_cos": noise(6, 16)}


def eva02_pretrained(state: dict) -> dict:
    return renamed(eva02(state), ("^fc_norm", "norm")) | {"mask_token": noise(1, 1, D), "lm_head.bias": noise(9)}


def clip(state: dict) -> dict:
    state = renamed(
        {name: array for name, array in state.items() if name != "head.bias"},
        (r"patch_embed\.proj", "conv1"),
        ("cls_token", "class_embedding"),
        ("pos_embed", "positional_embedding"),
        ("norm_pre", "ln_pre"),
        (r"^norm\.", "ln_post."),
        (r"\.norm(\d)", r".ln_\1"),
        (r"attn\.qkv\.", "attn.in_proj_"),
        (r"attn\.proj", "attn.out_proj"),
        (r"mlp\.fc1", "mlp.c_fc"),
        (r"mlp\.fc2", "mlp.c_proj"),
        (r"^blocks", "transformer.resblocks"),
        (r"^head\.weight", "proj"),
        ("^", "visual."),
    )
    state["visual.class_embedding"] = state["visual.class_embedding"][0, 0]
    state["visual.positional_embedding"] = state["visual.positional_embedding"][0]
    state["visual.proj"] = state["visual.proj"].T
    text = {"positional_embedding": noise(7, D), "transformer.resblocks.0.ln_1.weight": noise(D)}
    return state | text | {"logit_scale": torch.tensor(4.6), "context_length": torch.tensor(77)}


VIT, EVA, BEIT = vision_transformer.checkpoint_filter_fn, eva.checkpoint_filter_fn, beit.checkpoint_filter_fn
GATED = {"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU, "mlp_ratio": 8}
FILES = {
    "deit": ("deit", dict, VIT, {}, {}),
    "deit distilled": ("deit_distilled", dict, VIT, {}, {}),
    "deit3": (
        "deit3",
        lambda state: renamed(state, (r"ls(\d)\.gamma", r"gamma_\1")),
        lambda state, model: VIT(state, model, adapt_layer_scale=True),
        {},
        {},
    ),
    "mae pretrained": ("mae", mae_pretrained, VIT, {}, {}),
    "dinov2": ("dinov2", dinov2, VIT, GATED, {}),
    "dinov2 registers": ("dinov2_reg", dinov2_registers, VIT, {}, {}),
    "dinov3": ("dinov3", dinov3, EVA, {}, {}),
    "dinov3 plus": ("dinov3", dinov3, EVA, {"swiglu_mlp": True, "swiglu_align_to": 8}, {}),
    "beit": ("beit", beit_finetuned, BEIT, {}, {}),
    "beit pretrained": (
        "beit",
        beit_pretrained,
        BEIT,
        {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True, "global_pool": "token"},
        {"pooling": "token"},
    ),
    "eva02": ("eva02", eva02, EVA, {}, {}),
    "eva02 pretrained": ("eva02", eva02_pretrained, EVA, {}, {}),
    "eva02 tiny": ("eva02", eva02, EVA, {"scale_mlp": False, "swiglu_mlp": True, "qkv_fused": True}, {}),
    "clip": ("clip", clip, VIT, {}, {}),
}
"""What is released -> our family, timm's state dict under the original names, timm's converter of such names, what the
judge has different from the family's timm model, and what we are asked for."""
OTHER_MLP = {
    "dinov2": Size(D, 2, 2, 128, gated=True),
    "dinov3 plus": Size(D, 2, 2, 128, gated=True),
    "eva02 tiny": Size(D, 2, 2, 85, gated=True),
}
"""Releases in sizes whose MLP is not that of the family's `mu`."""


@pytest.fixture
def released(monkeypatch):
    """Gives a judge with random weights, and these under the names of the release."""

    def make(name: str):
        family, original, convert, changes, arguments = FILES[name]
        if name in OTHER_MLP:
            monkeypatch.setitem(FAMILIES[family].own, "mu", OTHER_MLP[name])
        judge = timm_model(family, SIZE, CLASSES, **changes)
        if family == "clip":
            torch.nn.init.zeros_(judge.head.bias)
        state = {name: array.clone() for name, array in judge.state_dict().items()}
        return judge, original(state), convert, family, arguments

    return make


@pytest.mark.parametrize("name", FILES)
def test_timm_converts_to_the_same_model(name, released, tmp_path, capsys):
    judge, state, convert, family, arguments = released(name)
    wanted = outputs_of_timm(judge, pixels(SIZE))
    torch.save({"model": state, "args": argparse.Namespace(lr=1e-3), "epoch": 300}, tmp_path / "w.pth")
    with torch.no_grad():
        for parameter in judge.parameters():
            parameter.zero_()
    assert not judge.load_state_dict(convert(dict(state), judge), strict=False).missing_keys
    for there, expected in zip(outputs_of_timm(judge, pixels(SIZE)), wanted, strict=True):
        np.testing.assert_allclose(there, expected, atol=5e-6)

    encoder, classifier = (ours(family, tmp_path / "w.pth", SIZE, n, **arguments) for n in (0, CLASSES))
    assert "fresh" not in capsys.readouterr().out
    assert_same(encoder(pixels(SIZE)), wanted[0], "features")
    assert_same(classifier(pixels(SIZE)), wanted[1], "logits")


@pytest.mark.parametrize("name", FILES)
def test_every_row_is_written_as_it_is_read(name, released, tmp_path):
    _, state, _, family, arguments = released(name)
    torch.save(state, tmp_path / "w.pth")
    checkpoint = open_checkpoint(tmp_path / "w.pth")
    model = keras_vit.build(f"{family}_mu16", depth=2, num_classes=CLASSES, image_size=SIZE, **arguments)
    matches, unknown = recognise(checkpoint, describe(model))
    assert not unknown
    for match in matches:
        there = match.row.read([checkpoint.read(each) for each in match.names])
        written = match.row.write(there)
        assert [array.shape for array in written] == [checkpoint.shapes[each] for each in match.names]
        for here, expected in zip(match.row.read(written), there, strict=True):
            np.testing.assert_array_equal(here, expected)


class TestDino:
    """timm has no converter of a whole training run: every array has to arrive as it is."""

    @pytest.mark.parametrize("prefix", ["", "module."])
    def test_teacher_of_a_training_run(self, prefix, tmp_path, capsys):
        judge = timm_model("dino", SIZE, 0)
        heads = {"head.mlp.0.weight": noise(8, D), "head.last_layer.weight_g": noise(8, 1)}
        teacher = {f"backbone.{name}": array for name, array in judge.state_dict().items()} | heads
        run = {
            "student": {f"module.{name}": torch.zeros_like(array) for name, array in teacher.items()},
            "teacher": {prefix + name: array for name, array in teacher.items()},
            "optimizer": {"state": {0: {"exp_avg": noise(3)}}, "param_groups": [{"lr": 0.1}]},
            "args": argparse.Namespace(arch="vit_small", local_crops_scale=(0.05, 0.4)),
            "dino_loss": {"center": noise(1, 8)},
            "epoch": 100,
        }
        torch.save(run, tmp_path / "checkpoint.pth")
        model = ours("dino", tmp_path / "checkpoint.pth", SIZE, 0)
        assert capsys.readouterr().out == ""
        written = to_dialect(model, describe(model), META)
        assert written.keys() == judge.state_dict().keys()
        for name, array in judge.state_dict().items():
            np.testing.assert_array_equal(written[name], array.numpy())
        assert_same(model(pixels(SIZE)), outputs_of_timm(judge, pixels(SIZE))[0], "features")

    def test_chunks_of_dinov2(self, tmp_path, capsys):
        judge = timm_model("dinov2", SIZE, 0)
        state = renamed(judge.state_dict(), (r"^blocks\.(\d)", r"blocks.\1.\1"), ("^", "backbone."))
        heads = {"dino_head.mlp.0.weight": noise(8, D), "ibot_head.last_layer.weight_v": noise(8, 1)}
        torch.save({"teacher": state | heads | {"backbone.mask_token": noise(1, D)}}, tmp_path / "teacher.pth")
        model = ours("dinov2", tmp_path / "teacher.pth", SIZE, 0)
        assert capsys.readouterr().out == ""
        assert_same(model(pixels(SIZE)), outputs_of_timm(judge, pixels(SIZE))[0], "features")


def test_encoder_of_ijepa(tmp_path, capsys):
    judge = timm_model("ijepa", SIZE, 0)
    encoder = {f"module.{name}": array for name, array in judge.state_dict().items()}
    predictor = {"module.predictor_embed.weight": noise(8, D)}
    run = {"encoder": encoder, "predictor": predictor, "target_encoder": {"module.x": noise(1)}, "opt": {"state": {}}}
    torch.save(run, tmp_path / "w.pth")
    model = ours("ijepa", tmp_path / "w.pth", SIZE, 0)
    assert capsys.readouterr().out == ""
    assert_same(model(pixels(SIZE)), outputs_of_timm(judge, pixels(SIZE))[0], "features")


def test_mae_fine_tuned(tmp_path):
    judge = timm_model("mae", SIZE, CLASSES, global_pool="avg", fc_norm=True)
    torch.save({"model": judge.state_dict()}, tmp_path / "w.pth")
    model = ours("mae", tmp_path / "w.pth", SIZE, CLASSES, pooling="avg")
    assert_same(model(pixels(SIZE)), outputs_of_timm(judge, pixels(SIZE))[1], "logits")


class TestFilesThatDoNotFit:
    def refuse(self, state: dict, family: str, path, *words: str):
        torch.save(state, path)
        model = keras_vit.build(f"{family}_mu16", depth=2, num_classes=CLASSES, image_size=SIZE, seed=1)
        before = model.get_weights()
        with pytest.raises(InputError) as caught:
            keras_vit.weights.load(model, path)
        for word in words:
            assert word in str(caught.value)
        assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))

    def test_another_family(self, released, tmp_path):
        state = released("dinov3")[1]
        self.refuse(state, "dinov2", tmp_path / "w.pth", "unknown storage_tokens", "missing position_embedding")

    def test_sub_norm_of_attention(self, released, tmp_path):
        state = released("eva02")[1] | {"blocks.0.attn.inner_attn_ln.weight": noise(D)}
        self.refuse(state, "eva02", tmp_path / "w.pth", "unknown blocks.0.attn.inner_attn_ln.weight")

    def test_a_projection_has_no_bias(self):
        model = keras_vit.build("clip_mu16", num_classes=CLASSES, image_size=SIZE)
        model.get_layer("head").bias.assign(np.ones(CLASSES))
        with pytest.raises(InputError, match="CLIP's projection has no bias"):
            to_dialect(model, describe(model), OPENAI)

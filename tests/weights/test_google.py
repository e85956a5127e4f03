"""Google's `.npz` names, original and big_vision's, with timm's own reader of these files as the judge."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from test_timm import assert_same, ours, outputs_of_timm, pixels, timm_model

import keras_vit
from keras_vit.errors import InputError
from keras_vit.weights.architecture import describe
from keras_vit.weights.dialects.google import GOOGLE
from keras_vit.weights.formats import open_checkpoint
from keras_vit.weights.load import recognise
from keras_vit.weights.save import to_dialect

SIZE, CLASSES, DEPTH, D, HEADS = (32, 48), 5, 2, 32, 2
PATCHES = 6
ORIGINAL = {"attention": "MultiHeadDotProductAttention_1", "norm2": "LayerNorm_2", "mlp": "MlpBlock_3"}
BIG_VISION = {"attention": "MultiHeadDotProductAttention_0", "norm2": "LayerNorm_1", "mlp": "MlpBlock_0"}
TEXT_TOWER = {"params/txt/Embed_0/embedding": (9, D), "params/t": (1,), "params/b": (1,)}
OPTIMIZER = {"opt/0/mu/pos_embedding": (2, D), "opt/0/count": (), "chrono/accum_train_time": ()}


def attention_shapes(name: str) -> dict[str, tuple[int, ...]]:
    shapes = {f"{name}/out/kernel": (HEADS, D // HEADS, D), f"{name}/out/bias": (D,)}
    for each in ("query", "key", "value"):
        shapes |= {f"{name}/{each}/kernel": (D, HEADS, D // HEADS), f"{name}/{each}/bias": (HEADS, D // HEADS)}
    return shapes


def norm_shapes(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}/scale": (D,), f"{name}/bias": (D,)}


def mlp_shapes(name: str) -> dict[str, tuple[int, ...]]:
    first, second = f"{name}/Dense_0", f"{name}/Dense_1"
    return {f"{first}/kernel": (D, 128), f"{first}/bias": (128,), f"{second}/kernel": (128, D), f"{second}/bias": (D,)}


def block_shapes(name: str, parts: dict[str, str]) -> dict[str, tuple[int, ...]]:
    return {
        **norm_shapes(f"{name}/LayerNorm_0"),
        **attention_shapes(f"{name}/{parts['attention']}"),
        **norm_shapes(f"{name}/{parts['norm2']}"),
        **mlp_shapes(f"{name}/{parts['mlp']}"),
    }


def stem_shapes() -> dict[str, tuple[int, ...]]:
    return {"embedding/kernel": (16, 16, 3, D), "embedding/bias": (D,), **norm_shapes("Transformer/encoder_norm")}


def head_shapes() -> dict[str, tuple[int, ...]]:
    return {"head/kernel": (D, CLASSES), "head/bias": (CLASSES,)}


def original_shapes() -> dict[str, tuple[int, ...]]:
    shapes = {**stem_shapes(), **head_shapes(), "cls": (1, 1, D)}
    shapes["Transformer/posembed_input/pos_embedding"] = (1, 1 + PATCHES, D)
    for index in range(DEPTH):
        shapes |= block_shapes(f"Transformer/encoderblock_{index}", ORIGINAL)
    return shapes


def big_vision_shapes(scan: bool) -> dict[str, tuple[int, ...]]:
    shapes = {**stem_shapes(), "pos_embedding": (1, PATCHES, D)}
    if scan:
        block = block_shapes("Transformer/encoderblock", BIG_VISION)
        return shapes | {name: (DEPTH, *shape) for name, shape in block.items()}
    for index in range(DEPTH):
        shapes |= block_shapes(f"Transformer/encoderblock_{index}", BIG_VISION)
    return shapes


def map_head_shapes() -> dict[str, tuple[int, ...]]:
    return {
        "MAPHead_0/probe": (1, 1, D),
        **attention_shapes("MAPHead_0/MultiHeadDotProductAttention_0"),
        **norm_shapes("MAPHead_0/LayerNorm_0"),
        **mlp_shapes("MAPHead_0/MlpBlock_0"),
    }


def randoms(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Arrays in which every number matters."""
    rng = np.random.default_rng(0)
    return {
        name: np.asarray(name.endswith("/scale") + 0.1 * rng.normal(size=shape), "float32")
        for name, shape in shapes.items()
    }


def prefixed(shapes: dict[str, tuple[int, ...]], prefix: str) -> dict[str, tuple[int, ...]]:
    return {prefix + name: shape for name, shape in shapes.items()}


FILES = {
    "original": ("vit", original_shapes()),
    "old optimizer": ("vit", {**prefixed(original_shapes(), "opt/target/"), "opt/state/step": (), "extra/time": ()}),
    "flexivit": (
        "flexivit",
        {**prefixed({**big_vision_shapes(False), **head_shapes(), "cls": (1, 1, D)}, "params/"), **OPTIMIZER},
    ),
    "siglip": ("siglip", prefixed({**big_vision_shapes(False), **map_head_shapes()}, "params/img/") | TEXT_TOWER),
    "siglip, scanned": ("siglip", {**big_vision_shapes(True), **map_head_shapes(), **head_shapes()}),
}


@pytest.mark.parametrize("name", FILES)
def test_timm_reads_the_same_model(name, tmp_path, capsys):
    family, shapes = FILES[name]
    np.savez(tmp_path / "w.npz", **randoms(shapes))
    classes = CLASSES if any(each.endswith("head/kernel") for each in shapes) else 0
    judge = timm_model(family, SIZE, classes)
    judge.load_pretrained(str(tmp_path / "w.npz"))
    features, logits = outputs_of_timm(judge, pixels(SIZE))
    model = ours(family, tmp_path / "w.npz", SIZE, classes)
    assert capsys.readouterr().out == ""
    assert_same(model(pixels(SIZE)), logits, "outputs")
    assert_same(ours(family, tmp_path / "w.npz", SIZE, 0)(pixels(SIZE)), features, "features")


@pytest.mark.parametrize("family", ["vit", "siglip", "flexivit"])
def test_written_and_read_again(family, tmp_path, capsys):
    model = keras_vit.build(f"{family}_mu16", depth=DEPTH, num_classes=CLASSES, image_size=SIZE, seed=1)
    arrays = to_dialect(model, describe(model), GOOGLE)
    shapes = {
        "vit": original_shapes(),
        "siglip": {**big_vision_shapes(False), **map_head_shapes(), **head_shapes()},
        "flexivit": {**big_vision_shapes(False), **head_shapes(), "cls": (1, 1, D)},
    }
    assert {name: array.shape for name, array in arrays.items()} == shapes[family]
    np.savez(tmp_path / "w.npz", **arrays)
    again = ours(family, tmp_path / "w.npz", SIZE, CLASSES)
    assert capsys.readouterr().out == ""
    for there, here in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(here, there)


def test_scanned_blocks_are_written_back():
    model = keras_vit.build("siglip_mu16", depth=DEPTH, num_classes=0, image_size=SIZE, seed=1)
    scanned = [row for row in GOOGLE.rows(describe(model)) if row.theirs[0].startswith("Transformer/encoderblock/")]
    arrays = {variable.path: np.asarray(variable) for variable in model.weights}
    assert scanned
    for row in scanned:
        there = row.write([arrays[path] for path in row.ours])
        for path, array in zip(row.ours, row.read(there), strict=True):
            np.testing.assert_array_equal(array, arrays[path])


def test_bfloat16_and_float16(tmp_path):
    arrays = randoms(original_shapes())
    for dtype, name in ((ml_dtypes.bfloat16, "b.npz"), (np.float16, "h.npz")):
        np.savez_compressed(tmp_path / name, **{name: array.astype(dtype) for name, array in arrays.items()})
        np.savez(tmp_path / "f.npz", **{name: array.astype(dtype).astype("float32") for name, array in arrays.items()})
        low, full = (ours("vit", tmp_path / each, SIZE, CLASSES).get_weights() for each in (name, "f.npz"))
        for there, here in zip(low, full, strict=True):
            np.testing.assert_array_equal(here, there)


def test_the_head_behind_pre_logits_is_left_fresh(tmp_path, capsys):
    shapes = {**original_shapes(), "pre_logits/kernel": (D, D), "pre_logits/bias": (D,)}
    np.savez(tmp_path / "w.npz", **randoms(shapes))
    model = ours("vit", tmp_path / "w.npz", SIZE, CLASSES)
    assert "the classifier is fresh" in capsys.readouterr().out
    assert not np.array_equal(model.get_layer("head").get_weights()[0], randoms(shapes)["head/kernel"])


def test_a_real_size_is_named_completely(tmp_path):
    """Every name of the published ViT-Ti/16, and no other."""
    model = keras_vit.build("vit_ti16", num_classes=1000)
    written = to_dialect(model, describe(model), GOOGLE)
    assert len(written) == 200
    assert sum(array.size for array in written.values()) == 5_717_416
    assert written["Transformer/encoderblock_11/MultiHeadDotProductAttention_1/query/kernel"].shape == (192, 3, 64)
    assert written["Transformer/posembed_input/pos_embedding"].shape == (1, 197, 192)


class TestFilesThatDoNotFit:
    def refuse(self, arrays, path, *words, family="vit"):
        np.savez(path, **arrays)
        with pytest.raises(InputError) as caught:
            ours(family, path, SIZE, CLASSES)
        for word in words:
            assert word in str(caught.value)

    def test_missing_and_unknown(self, tmp_path):
        arrays = randoms(original_shapes() | {"Transformer/posembed_output/x": (2,)})
        del arrays["Transformer/encoder_norm/bias"]
        self.refuse(arrays, tmp_path / "w.npz", "unknown Transformer/posembed_output/x", "missing norm/beta")

    def test_another_number_of_scanned_blocks(self, tmp_path):
        arrays = {
            name: array[:1] if name.startswith("Transformer/encoderblock/") else array
            for name, array in randoms(big_vision_shapes(True) | map_head_shapes()).items()
        }
        self.refuse(arrays, tmp_path / "w.npz", "the model has 2 blocks", family="siglip")

    def test_naflex(self, tmp_path):
        arrays = randoms(original_shapes() | {"embedding/kernel": (768, D)})
        self.refuse(arrays, tmp_path / "w.npz", "embedding/kernel (768, 32)", "4 axes are needed")

    def test_shapes_alone_decide(self, tmp_path):
        """Nothing is read to find out that a file does not fit."""
        np.savez(tmp_path / "w.npz", **randoms(original_shapes()))
        model = keras_vit.build("vit_mu16", depth=DEPTH, num_classes=CLASSES, image_size=SIZE)
        matches, unknown = recognise(open_checkpoint(tmp_path / "w.npz"), describe(model))
        assert not unknown
        assert sum(len(match.names) for match in matches) == len(original_shapes())

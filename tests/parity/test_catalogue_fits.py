"""Every tag of the catalogue: the names and shapes of timm's full-size network fit ours, array by array."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which the test extra installs")

from peers import declare_torchvision_ops  # noqa: E402

declare_torchvision_ops()
timm = pytest.importorskip("timm", reason="needs timm, which the test extra installs")

import keras_vit  # noqa: E402
from keras_vit.variants import parse  # noqa: E402
from keras_vit.weights.architecture import describe  # noqa: E402
from keras_vit.weights.catalogue import find, list_weights  # noqa: E402
from keras_vit.weights.fit import Fitting  # noqa: E402
from keras_vit.weights.formats import Checkpoint  # noqa: E402
from keras_vit.weights.load import account_for_all, recognise, shapes_of  # noqa: E402

ENTRIES = [find(*name.split(".", 1)) for name in list_weights()]
NETWORKS = {
    (entry.architecture, entry.timm, entry.image_size, bool(entry.classes)): entry
    for entry in sorted(ENTRIES, key=lambda entry: entry.name)
}
"""Tags that are the same network with other numbers need one look."""


ACTIVATIONS = {"GELU": "gelu", "GELUTanh": "gelu_tanh", "QuickGELU": "quick_gelu"}


def network_of_timm(entry) -> torch.nn.Module:
    """timm's network without numbers and with one block: blocks are alike."""
    classes = 10 if entry.classes else 0
    with torch.device("meta"):
        return timm.create_model(entry.timm, depth=1, num_classes=classes, img_size=entry.image_size)


def assert_same_settings(entry, theirs: torch.nn.Module) -> None:
    """What no array shows: heads, epsilon, activation, pooling, tokens before the patches."""
    variant, block = parse(entry.architecture), theirs.blocks[0]
    assert block.attn.num_heads == variant.size.num_heads
    assert block.norm1.eps == variant.family.norm_epsilon
    activation = type(block.mlp.act).__name__
    if variant.size.gated:
        assert activation == "SiLU"
    elif variant.family_name != "siglip":  # timm has the exact form in most sizes, the authors the tanh form in all
        assert ACTIVATIONS[activation] == variant.family.activation
    if variant.family_name != "dinov3":  # timm averages unless it is told that the authors take the class token
        assert theirs.global_pool == variant.family.pooling
    registers = entry.options.get("registers", variant.family.registers)
    assert theirs.num_prefix_tokens == int(variant.family.class_token) + registers


@pytest.mark.parametrize("architecture", dict.fromkeys(entry.architecture for entry in ENTRIES))
def test_every_tag_fits_its_architecture(architecture):
    networks = [entry for entry in NETWORKS.values() if entry.architecture == architecture]
    for (size, classes, options), entries in itertools.groupby(
        sorted(networks, key=lambda e: (e.image_size, bool(e.classes), str(e.options))),
        key=lambda e: (e.image_size, bool(e.classes), e.options),
    ):
        model = keras_vit.build(
            architecture, num_classes=10 if classes else 0, image_size=size, depth=1, **options, seed=0
        )
        for entry in entries:
            theirs = network_of_timm(entry)
            assert_same_settings(entry, theirs)
            shapes = {name: tuple(array.shape) for name, array in theirs.state_dict().items()}
            checkpoint = Checkpoint(Path(entry.name), shapes, read=None)
            matches, unknown = recognise(checkpoint, describe(model))
            account_for_all(model, checkpoint, matches, unknown)
            fitting = Fitting(model, describe(model), shapes_of(matches, checkpoint), None)
            fits = fitting.fits()
            assert not fitting.wrong, entry.name
            assert not fitting.notes, entry.name
            assert fits.keys() == {variable.path for variable in model.weights}, entry.name

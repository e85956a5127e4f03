"""Fitting to other sizes, against timm's own functions: positions, patches, relative bias tables, channels."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which the test extra installs")

from peers import declare_torchvision_ops  # noqa: E402

declare_torchvision_ops()
pytest.importorskip("timm", reason="needs timm, which the test extra installs")
from timm.layers import resample_abs_pos_embed, resample_patch_embed  # noqa: E402
from timm.layers.pos_embed_rel import resize_rel_pos_bias_table  # noqa: E402
from timm.models import adapt_input_conv  # noqa: E402

from keras_vit.layers.position_embedding import resample_positions  # noqa: E402
from keras_vit.layers.relative_bias import resample_bias  # noqa: E402
from keras_vit.weights.fit import resample_patches, spread_channels  # noqa: E402

GRIDS = [((14, 14), (24, 24)), ((14, 14), (20, 16)), ((16, 16), (7, 7)), ((24, 24), (5, 37)), ((3, 5), (6, 4))]


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize(("old", "new"), GRIDS, ids=str)
@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_positions(old, new, prefix):
    table = draw(prefix + old[0] * old[1], 8)
    theirs = resample_abs_pos_embed(torch.from_numpy(table)[None], new, old, num_prefix_tokens=prefix)[0].numpy()
    np.testing.assert_allclose(resample_positions(table, old, new, prefix), theirs, atol=2e-5)


@pytest.mark.parametrize(("old", "new"), [((16, 16), (32, 32)), ((16, 16), (8, 8)), ((16, 16), (14, 20))], ids=str)
def test_patches(old, new):
    kernel = draw(*old, 3, 8)
    theirs = resample_patch_embed(torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()), new).numpy()
    ours = resample_patches(kernel, new)
    np.testing.assert_allclose(ours, theirs.transpose(2, 3, 1, 0), atol=1e-3 * theirs.std())


@pytest.mark.parametrize(("old", "new"), GRIDS[:4], ids=str)
def test_relative_bias(old, new):
    rows, wanted = ((2 * grid[0] - 1) * (2 * grid[1] - 1) + 3 for grid in (old, new))
    table = draw(rows, 4)
    theirs = resize_rel_pos_bias_table(torch.from_numpy(table), new, (wanted, 4), old).numpy()
    np.testing.assert_allclose(resample_bias(table, old, new), theirs, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 4, 6])
def test_channels(channels):
    kernel = draw(8, 8, 3, 5)
    theirs = adapt_input_conv(channels, torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())).numpy()
    np.testing.assert_allclose(spread_channels(kernel, channels), theirs.transpose(2, 3, 1, 0), atol=1e-6)

"""How far a model looks: the mean attention distance of every head in every block, in pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from keras_vit.evaluation.mistakes import RIGHT, WRONG
from keras_vit.evaluation.pictures import new_figure
from keras_vit.explain.attention import Attention


def attention_distance(attention: Attention, patch_size: int) -> np.ndarray:
    """The distance between a patch and the patches that it looks at, by how much it looks at each; its mean over all
    patches and images (Dosovitskiy et al., An Image is Worth 16x16 Words, 2021, figure 7 on the right).

    Small distances are local, as in a convolution; the mean distance between any two patches is that of a head which
    looks everywhere alike. Class token and registers lie nowhere: they neither look nor are looked at, and what is left
    of a patch's attention is taken as all of it.

    Args:
        attention: of some images, blocks and heads.
        patch_size: side of a patch in pixels, as `replay_of(model).patch_size`.

    Returns:
        (layers, heads) float32, in pixels of the model's input; 0 for patches that look at no patch at all.
    """
    between = _distances(attention.grid, patch_size)
    sums = np.zeros(attention.scores.shape[1:3], "float64")
    # Image by image: the scores of all of them can take most of the memory, and this would be a second copy.
    for scores in attention.scores[..., attention.prefix :, attention.prefix :]:
        far = np.einsum("lhnm,nm->lhn", scores, between)
        whole = np.maximum(scores.sum(-1), np.finfo("float32").tiny)
        sums += (far / whole).mean(-1)
    return (sums / len(attention.scores)).astype("float32")


def distance_figure(distances: np.ndarray, layers: Sequence[int], grid: tuple[int, int], patch_size: int) -> Figure:
    """A dot for every head over the depth of its block, and the distance of a head that looks everywhere alike.

    Args:
        distances: (layers, heads) in pixels, as `attention_distance` gives them.
        layers: numbers of the blocks.
        grid: (h, w) of the patches.
        patch_size: side of a patch in pixels.
    """
    figure = new_figure(6, 3.6)
    axes = figure.add_subplot()
    everywhere = _distances(grid, patch_size).mean()
    axes.axhline(everywhere, color=WRONG, linestyle="--", linewidth=1, label="a head that looks everywhere alike")
    blocks = np.repeat(np.asarray(layers), distances.shape[1])
    axes.scatter(blocks, distances.ravel(), s=18, color=RIGHT, alpha=0.8, label="a head")
    axes.set_xlabel("block")
    axes.set_ylabel("mean attention distance, pixels")
    axes.set_xticks(layers)
    axes.set_ylim(0, 1.08 * max(everywhere, distances.max(), 1))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def _distances(grid: tuple[int, int], patch_size: int) -> np.ndarray:
    """Pixels between the centres of any two patches: (h w, h w) float32."""
    places = np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij"), axis=-1).reshape(-1, 2)
    apart = patch_size * np.linalg.norm(places[:, None] - places[None], axis=-1)
    return apart.astype("float32")
